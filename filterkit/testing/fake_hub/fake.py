"""`FakeHub`: the server in a thread of this process."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Self

from filterkit.errors import FilterkitError
from filterkit.testing.fake_hub.faults import Cut, Faults, Seen
from filterkit.testing.fake_hub.state import Settings, State

try:
    from filterkit.testing.fake_hub.endpoints import shown
    from filterkit.testing.fake_hub.server import listen, stop_endpoints
except ImportError as error:
    raise ImportError("filterkit.testing.fake_hub needs aiohttp: pip install 'filterkit[testing]'") from error
from filterkit.testing.fake_hub.view import RepoView

START_S = 30.0


class FakeHub:
    """A fake Hub on 127.0.0.1, serving while its `with` block lasts; what it stores lasts as long.

    token: the user's, which may read and write. read_token: one that may only read. user: whose tokens these are, and
    the only namespace. python: the interpreter that runs the handlers of Inference Endpoints. polls: how often an
    endpoint is asked for at least before it is running. cold_requests: how many requests an endpoint that is scaled to
    zero refuses with 503 before it answers. multipart_bytes: larger LFS objects are uploaded in parts of that size.
    page: entries of a listing in one answer. port: 0 takes a free one.
    """

    def __init__(
        self,
        *,
        token: str = "hf_fakeWriteToken",
        read_token: str = "hf_fakeReadToken",
        user: str = "me",
        python: str | Path = sys.executable,
        polls: int = 2,
        cold_requests: int = 1,
        multipart_bytes: int = 8 << 20,
        page: int = 1000,
        port: int = 0,
    ) -> None:
        self.token, self.read_token, self.user = token, read_token, user
        self.faults = Faults()
        self._settings = Settings(token, read_token, user, python, polls, cold_requests, multipart_bytes, page)
        self._port, self._ready = port, threading.Event()
        self._problem: BaseException | None = None

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="fake-hub-")
        self._state = State(self._settings, Path(self._folder.name), self.faults)
        self._problem = None
        self._ready.clear()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), name="fake-hub", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_S) or self._problem is not None:
            self._folder.cleanup()
            raise FilterkitError(f"the fake Hub did not start: {self._problem}", fix="Try another port")
        return self

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        try:
            runner, self._port = await listen(self._state, self._port)
        except OSError as error:
            self._problem = error
            return
        finally:
            self._ready.set()
        await self._over.wait()
        await runner.cleanup()
        stop_endpoints(self._state)

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(START_S)
        self._folder.cleanup()

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def endpoints_url(self) -> str:
        """What replaces huggingface_hub.constants.INFERENCE_ENDPOINTS_ENDPOINT: ends in /v2."""
        return f"{self.url}/v2"

    def env(self, *, token: str | None = None) -> dict[str, str]:
        """Environment variables for a client's process: address, token (another one if given), an HF_HOME of its own,
        no Xet, no telemetry, no proxy to here. The client knows no variable for `endpoints_url`."""
        home = Path(self._folder.name, "home")
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.token if token is None else token,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def repo(self, repo_id: str, repo_type: str = "model") -> RepoView:
        """A stored repository. Raises KeyError where there is none."""
        return RepoView(self._state, self._state.repos[repo_type, repo_id])

    @property
    def repos(self) -> list[tuple[str, str]]:
        """(type, id) of all repositories, for example ("dataset", "me/labels")."""
        return sorted(self._state.repos)

    @property
    def endpoints(self) -> dict[str, dict[str, Any]]:
        """All Inference Endpoints by name, each as the API shows it."""
        return shown(self._state)

    @property
    def requests(self) -> list[Seen]:
        """All requests in the order of their ends."""
        return list(self._state.requests)

    @property
    def uploaded(self) -> tuple[int, int]:
        """(requests, bytes of their bodies) that `cut_after` has counted since the start."""
        return self.faults.requests, self.faults.size

    def cut_after(
        self, requests: int | None = None, *, size: int | None = None, answer: bool = False, down: bool = False
    ) -> None:
        """Cut the connection of an upload once. Counted are, from now on, requests that change something.

        requests: it is the n-th such request (1 is the next one), cut halfway through its body, or, with answer=True,
        when its work is done and before its answer. size: it is cut when that many bytes of bodies have come in all.
        down: from then on no request comes through, reading ones neither, until `faults.clear()`: the client cannot
        mend it by trying again.
        """
        self.faults.arm_cut(Cut(requests, size, answer, down))

    def seen(self, text: str) -> list[str]:
        """Where a text stands in what was stored: files of all commits, uploads without a commit, commit messages,
        endpoints (but for their secrets). For the test that no token does."""
        with self._state.lock:
            held = set(self._state.objects.contains(text.encode()))
            named: set[str] = set()
            places = []
            for (kind, repo_id), repo in sorted(self._state.repos.items()):
                for commit in repo.commits.values():
                    where = f"{kind} {repo_id} {commit.sha[:8]}"
                    places += [f"{where}: {path}" for path, file in commit.files.items() if file.stored in held]
                    named |= {file.stored for file in commit.files.values()}
                    if text in f"{commit.title}\n{commit.message}\n{sorted(commit.files)}":
                        places.append(f"{where}: commit message or path")
            places += [f"upload without a commit: {stored}" for stored in sorted(held - named)]
            places += [f"endpoint {name}" for name, raw in self.endpoints.items() if text in str(raw)]
            return places
