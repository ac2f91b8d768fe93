"""Labels that you have already become a student: python examples/03_your_own_labels.py [FOLDER]

Writes a filter and some labelled articles into FOLDER, then runs the commands that turn them into a student. The labels
here are counted words; yours come from editors or from another tool. A score that is not known is null.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

FILTER = """\
schema: 1
name: kitchen
version: "1"
description: Is this about cooking, and could one cook from it?
dimensions:
  - {name: cooking, weight: 0.5, description: It is about preparing food}
  - {name: usable, weight: 0.5, description: One could cook from it}
postfilter: {use: overall, pass_at: 5}
trainer: {use: lite}
"""
PROMPT = (
    "Score the article from 0 to 10 on: cooking (is it about preparing food) and usable (could one cook from it).\n\n"
)
COOKING, USABLE, OTHER = (
    ["soup", "bake", "onion", "pan", "oven", "recipe"],
    ["grams", "minutes", "stir", "then"],
    ["car", "tax", "match"],
)


def labelled(number: int) -> dict[str, object]:
    """An article with its scores, and now and then one that is not known."""
    some = random.Random(number)  # noqa: S311 - an invented text is no secret
    cooking, usable = some.randint(0, 10), some.randint(0, 10)
    words = some.choices(COOKING, k=cooking * 2) + some.choices(USABLE, k=usable * 2) + some.choices(OTHER, k=20)
    some.shuffle(words)
    scores = {"cooking": cooking, "usable": None if number % 9 == 0 else usable}
    return {
        "id": str(number),
        "title": f"Note {number}",
        "content": " ".join(words),
        "scores": scores,
        "oracle": "desk",
    }


def main(folder: Path) -> None:
    filter_folder = folder / "filters" / "kitchen" / "v1"
    filter_folder.mkdir(parents=True)
    (filter_folder / "filter.yaml").write_text(FILTER)
    (filter_folder / "prompt.md").write_text(PROMPT + "{{article}}\n")
    (folder / "labelled.jsonl").write_text("".join(json.dumps(labelled(i)) + "\n" for i in range(200)))
    (folder / "new.jsonl").write_text(
        json.dumps({"title": "Onion soup", "content": "Bake onion in a pan, 20 minutes, stir."})
    )

    for command in (
        "check filters/kitchen/v1",
        "prepare filters/kitchen/v1 --labels labelled.jsonl",
        "train filters/kitchen/v1",
        "validate filters/kitchen/v1",
        "score filters/kitchen/v1 --articles new.jsonl --output verdicts.jsonl",
    ):
        print(f"\n$ filterkit {command}", flush=True)
        done = subprocess.run(["filterkit", *command.split()], cwd=folder)
        if done.returncode not in (0, 1):  # 1: the gates said no, which is an answer too
            sys.exit(done.returncode)
    print((folder / "verdicts.jsonl").read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp()))
