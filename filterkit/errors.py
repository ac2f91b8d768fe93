"""Every exception that filterkit raises on purpose.

FilterkitError                  exit 2  the user must change something
├── SpecError                           a filter package is wrong
├── ConfigError                         filterkit.yaml, a variable or an option is wrong
├── PluginError                         a backend is unknown, broken, claimed twice or of another contract
├── InputError                          articles, labels or splits cannot be used
├── StoreError                          the label store cannot be used
├── ArtifactError                       a student's folder is damaged, altered or made for another filter
├── GateRefused                 exit 1  a gate or a verification said no
├── StoppedEarly                exit 4  stopped before the end; the same command goes on
└── BackendError                        what a backend says happened; the core decides what to do
    ├── Transient                       try again, with backoff
    │   └── Unreachable                 no connection was made: no article is to blame
    ├── Refused                         this record only (blocked, too long, no recording)
    ├── RateLimited                     wait ("minute") or end the run ("day")
    ├── CannotTell                      whether a remote job was accepted cannot be found out
    └── Fatal                           401, 402, 403, unknown model: end the run
Veto                                    raised by a before_* event to stop what is about to happen
"""

from __future__ import annotations

from typing import ClassVar, Literal


class FilterkitError(Exception):
    """An error a user can act on: what happened, where, and what to do next, on one line.

    `where` is a file (with line), an option or a record; `fix` is an instruction.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, where: object = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = None if where is None else str(where)
        self.fix = fix

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        text = f"{head.rstrip('.')}{'' if head.endswith('?') else '.'} {self.fix}" if self.fix else head
        return " ".join(text.split())


class SpecError(FilterkitError):
    """A filter package is missing or wrong."""


class ConfigError(FilterkitError):
    """A configuration value, environment variable or option is wrong."""


class PluginError(FilterkitError):
    """A backend cannot be had: unknown, broken, claimed by two dists, or written for another contract."""


class InputError(FilterkitError):
    """Articles, labels or splits cannot be used."""


class StoreError(FilterkitError):
    """The label store cannot be opened or used."""


class ArtifactError(FilterkitError):
    """A student's folder is damaged, was altered, or answers another question than the filter asks."""


class GateRefused(FilterkitError):
    """A gate or a verification said no."""

    exit_code = 1


class StoppedEarly(FilterkitError):
    """The run stopped before its end and can be taken up again by the same command."""

    exit_code = 4


class BackendError(FilterkitError):
    """What a backend says happened. Backends raise the subclasses; the core decides what follows."""


class Transient(BackendError):
    """It may work next time: a timeout, a dropped connection, a 5xx.

    `unbilled`: the provider itself said no, so that nothing is charged; else the ledger keeps what was reserved.
    `retry_after_s`: seconds it asks to wait before, if it said so.
    """

    def __init__(
        self,
        what: str,
        *,
        unbilled: bool = False,
        retry_after_s: float | None = None,
        where: object = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.unbilled = unbilled
        self.retry_after_s = retry_after_s


class Unreachable(Transient):
    """No connection was made, so nothing was sent: the network, the address or the whole provider is to blame."""

    def __init__(self, what: str, *, retry_after_s: float | None = None, where: object = None, fix: str | None = None):
        super().__init__(what, unbilled=True, retry_after_s=retry_after_s, where=where, fix=fix)


class Refused(BackendError):
    """This record only: blocked, too long, not known to the backend."""


class Fatal(BackendError):
    """No further request can succeed: bad key, no balance, unknown model."""


class CannotTell(BackendError):
    """Whether a job was accepted cannot be found out: its provider does not say, or what it says fits several jobs.

    `retry_after_s`: seconds after which asking again makes sense, None where it will not say later either.
    """

    def __init__(self, what: str, *, retry_after_s: float | None = None, where: object = None, fix: str | None = None):
        super().__init__(what, where=where, fix=fix)
        self.retry_after_s = retry_after_s


class RateLimited(BackendError):
    """The provider asks for a pause: `retry_after_s` seconds if it said so; scope "day" ends the run."""

    def __init__(
        self, what: str, *, retry_after_s: float | None = None, scope: Literal["minute", "day"] = "minute"
    ) -> None:
        super().__init__(what)
        self.retry_after_s = retry_after_s
        self.scope = scope


class Veto(Exception):
    """Raised by an implementation of a `before_*` event: what was about to happen does not."""
