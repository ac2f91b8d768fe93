"""Run as a script: scores folders as anybody would who has transformers and peft, but not filterkit.

Reads a JSON list of jobs {"root", "base", "texts", "labels"} from standard input; writes a list of
{"alone", "batched", "adapter"}, each a matrix of scores, to standard output.
"""

import json
import os
import sys


class _Absent:
    """filterkit and its plugins are not installed here."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0].startswith("filterkit"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main() -> None:
    """Score every job."""
    sys.meta_path.insert(0, _Absent())
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, pipeline

    torch.set_num_threads(1)
    found = []
    for job in json.load(sys.stdin):
        texts, labels = job["texts"], job["labels"]
        score = pipeline("text-classification", job["root"], top_k=None)
        told = {"truncation": True}
        alone = [score([text], **told)[0] for text in texts]
        batched = score(texts, batch_size=len(texts), **told)
        answer = {"alone": _matrix(alone, labels), "batched": _matrix(batched, labels)}
        if job["base"]:
            model = AutoModelForSequenceClassification.from_pretrained(job["base"], num_labels=len(labels))
            model = PeftModel.from_pretrained(model, f"{job['root']}/adapter").eval()
            tokens = score.tokenizer
            with torch.no_grad():
                rows = [model(**tokens(text, return_tensors="pt", **told)).logits[0].tolist() for text in texts]
            answer["adapter"] = rows
        found.append(answer)
    json.dump(found, sys.stdout)


def _matrix(found: list, labels: list) -> list:
    return [[{one["label"]: one["score"] for one in row}[label] for label in labels] for row in found]


if __name__ == "__main__":
    main()
