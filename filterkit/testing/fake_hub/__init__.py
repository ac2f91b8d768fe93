"""A fake Hugging Face Hub with Inference Endpoints on 127.0.0.1: the real huggingface_hub client runs against it.

    from filterkit.testing.fake_hub import FakeHub, Fault

    with FakeHub(token="hf_secret") as hub:
        subprocess.run([...], env={**os.environ, **hub.env()})  # or HfApi(endpoint=hub.url, token=hub.token)
        assert hub.repo("me/uplifting-v1").private and not hub.seen("hf_secret")

It speaks the HTTP protocol with Git LFS (basic and multipart uploads). Xet, the Hub's newer way of storing large files,
it does not speak: clients switch it off with HF_HUB_DISABLE_XET=1, and so what they do with Xet is not tested here.

A running Inference Endpoint really runs: it loads the repository's handler.py in a process of its own, as Hugging
Face's inference toolkit does. `hub.faults` and `hub.cut_after` say what goes wrong.
`python -m filterkit.testing.fake_hub --port 8080` serves until Ctrl-C.
"""

from __future__ import annotations

from filterkit.testing.fake_hub.fake import FakeHub
from filterkit.testing.fake_hub.faults import Fault, Faults, Seen
from filterkit.testing.fake_hub.storage import Commit
from filterkit.testing.fake_hub.view import RepoView

__all__ = ["Commit", "FakeHub", "Fault", "Faults", "RepoView", "Seen"]
