"""Which files go to LFS: by .gitattributes, as the Hub writes it into a new repository, and by size."""

from __future__ import annotations

from fnmatch import fnmatchcase

LARGE_BYTES = 10_000_000  # the Hub takes larger files in LFS only
_SUFFIXES = (
    "7z arrow avro bin bz2 ckpt ftz gz h5 joblib lfs.* mds mlmodel model msgpack npy npz onnx ot parquet pb pickle pkl "
    "pt pth rar safetensors"
)
_MORE = "saved_model/**/* *.tar.* *.tar *.tflite *.tgz *.wasm *.xz *.zip *.zst *tfevents*"
_DATASETS = "*.aac *.flac *.mp3 *.ogg *.wav *.bmp *.gif *.png *.tiff *.jpg *.jpeg *.webp *.mp4 *.webm *.pcm *.sam *.raw"


def default_attributes(repo_type: str) -> bytes:
    """The .gitattributes of a new model or dataset repository."""
    patterns = [f"*.{suffix}" for suffix in _SUFFIXES.split()] + _MORE.split()
    if repo_type == "dataset":
        patterns += _DATASETS.split()
    return "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in patterns).encode()


def to_lfs(path: str, size: int, attributes: str) -> bool:
    """Whether a file is uploaded to LFS."""
    if size > LARGE_BYTES:
        return True
    name = path.rpartition("/")[2]
    patterns = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line]
    return any(fnmatchcase(path if "/" in pattern else name, pattern.replace("**/", "*")) for pattern in patterns)
