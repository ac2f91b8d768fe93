"""What goes wrong, and what was received."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass


@dataclass
class Fault:
    """What happens to the requests whose "METHOD /path?query" the regular expression `on` finds something in.

    A HEAD goes the way of a GET and is not one ("^GET"). Bytes of LFS files come from /_content/…/NAME?…, to which
    /REPO/resolve/… redirects. skip: that many matching requests pass unharmed first. times: that many suffer then, None
    for all. delay_s: seconds of waiting before anything else. Of the following any may be given:
    status: answered instead of any work, with `retry_after_s` in Retry-After and `code` in X-Error-Code.
    cut_after_bytes: the connection is closed when so many bytes of the request's body were read; nothing was done.
    cut_answer: the work is done, and the connection is closed before the answer.
    flip: the first byte of a download comes with one bit flipped, all else as it should be.
    stale: a branch or tag is read as the parent of the commit that it points at.
    """

    on: str = ""
    status: int | None = None
    retry_after_s: float | None = None
    code: str | None = None
    delay_s: float = 0.0
    cut_after_bytes: int | None = None
    cut_answer: bool = False
    flip: bool = False
    stale: bool = False
    skip: int = 0
    times: int | None = 1
    matched: int = 0


@dataclass(frozen=True)
class Seen:
    """A request as it was received. path: with its query. status: None where the connection was cut. size: of its body
    in bytes, as far as it was read. authorized: it carried a valid token."""

    method: str
    path: str
    status: int | None
    size: int
    authorized: bool


@dataclass
class Cut:
    """What FakeHub.cut_after asks for, counted from `requests` and `size` of Faults as they were then."""

    request: int | None
    size: int | None
    answer: bool
    down: bool
    done: bool = False


class Faults:
    """The faults that are armed, and a count of what uploads sent. Safe to call while the fake serves."""

    def __init__(self) -> None:
        self.requests = self.size = 0
        self._armed: list[Fault] = []
        self._cut: Cut | None = None
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Arm a fault. Of several that match a request the first one added that is not spent counts."""
        re.compile(fault.on)
        with self._lock:
            self._armed.append(fault)

    def clear(self) -> None:
        """Nothing goes wrong from now on."""
        with self._lock:
            self._armed.clear()
            self._cut = None

    def take(self, request: str) -> Fault:
        """The fault that this request suffers, one without any harm if none; it is counted."""
        with self._lock:
            for fault in self._armed:
                if re.search(fault.on, request) is None:
                    continue
                fault.matched += 1
                if fault.matched > fault.skip and (fault.times is None or fault.matched <= fault.skip + fault.times):
                    return fault
        return Fault()

    def arm_cut(self, cut: Cut) -> None:
        """Cut an upload. Its numbers count from now on."""
        with self._lock:
            cut.request = None if cut.request is None else self.requests + cut.request
            cut.size = None if cut.size is None else self.size + cut.size
            self._cut = cut

    def down(self) -> bool:
        """Whether no request comes through any more."""
        return self._cut is not None and self._cut.done and self._cut.down

    def begin(self) -> Cut | None:
        """Count a request that changes something; the cut that it suffers, if it is the one."""
        with self._lock:
            self.requests += 1
            if self._cut is not None and self._cut.request == self.requests:
                self._cut.done = True
                return self._cut
        return None

    def received(self, size: int) -> bool:
        """Count bytes of such a request; whether its connection is cut after them."""
        with self._lock:
            self.size += size
            cut = self._cut
            if cut is None or cut.done or cut.size is None or self.size < cut.size:
                return False
            cut.done = True
            return True
