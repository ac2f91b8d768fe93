"""The filters of a server: which student answers for each, and how a new one takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial

from filterkit.api import Article, ArtifactError, BaseStudent, FilterkitError, InferenceRow, answer_rows, load_student
from filterkit_serve.errors import HttpError, whereabouts
from filterkit_serve.lane import Lane
from filterkit_serve.log import Log
from filterkit_serve.meters import Meters
from filterkit_serve.settings import Settings, Wanted
from filterkit_serve.source import Source

_TRIAL = Article("", "A first article", "A new student shows that it can score before anybody is sent to it.")


@dataclass(frozen=True, slots=True)
class Live:
    """A student that answers, and its lane. at: what its folder looked like before it was loaded."""

    student: BaseStudent
    lane: Lane
    at: object

    @property
    def name(self) -> str:
        return self.student.spec.name

    @property
    def version(self) -> str:
        return self.student.spec.version

    @property
    def student_hash(self) -> str:
        return self.student.manifest.student_hash


class Served:
    """One filter. Requests take `live` once and keep it: none is answered by two students."""

    def __init__(self, wanted: Wanted, settings: Settings, meters: Meters, log: Log) -> None:
        self.wanted = wanted
        self.live: Live | None = None
        self._source = Source(wanted.student)
        self._settings = settings
        self._meters = meters
        self._log = log
        self._refused: object = None
        self._one_at_a_time = asyncio.Lock()

    async def load(self) -> None:
        """Load the student, verify it, let it score a trial article; then it answers, and the one before it ends when
        it has scored what it was given. Raises FilterkitError, and the one before answers on."""
        async with self._one_at_a_time:
            at, student = await asyncio.to_thread(self._read)
            before, self.live = self.live, Live(student, self._lane(student), at)
            self._show(before, self.live)
            if before is not None:
                before.lane.retire()

    async def look(self, *, anyway: bool = False) -> None:
        """Load the student if its folder is not as it was, or anyway. What is wrong with a new one is logged once."""
        try:
            at = await asyncio.to_thread(self._source.signature)
        except (OSError, FilterkitError) as error:
            at = str(error)
        known = {self._refused, self.live.at if self.live else None}
        if at in known and not anyway:
            return
        try:
            await self.load()
        except Exception as error:  # whatever is wrong with it, the student that answers now is not
            self._refused = at
            self._meters.reloads.labels(self._name, "refused").inc()
            why = str(error) if isinstance(error, OSError | FilterkitError) else whereabouts(error)
            self._log.say("reload_refused", filter=self._name, why=why)
        else:
            self._refused = None

    @property
    def _name(self) -> str:
        return self.live.name if self.live else self.wanted.filter

    def _read(self) -> tuple[object, BaseStudent]:
        at = self._source.signature()
        folder = self._source.folder()
        settings = self._settings
        student = load_student(folder, self.wanted.filter, device=settings.device, threads=settings.threads)
        try:
            _try(student, folder)
        except BaseException:
            student.close()
            raise
        return at, student

    def _lane(self, student: BaseStudent) -> Lane:
        name = student.spec.name
        rows, seconds = self._meters.batch.labels(name), self._meters.batch_seconds.labels(name)

        def observe(count: int, took: float) -> None:
            rows.observe(count)
            seconds.observe(took)

        return Lane(student, most_waiting=self._settings.queue, wait_s=self._settings.wait_s, observe=observe)

    def _show(self, before: Live | None, now: Live) -> None:
        """Meters and log: who answers from now on."""
        said = {"filter": now.name, "version": now.version, "student_hash": now.student_hash}
        if before is not None:
            self._meters.student.remove(before.name, before.version, before.student_hash)
            self._meters.reloads.labels(now.name, "swapped").inc()
        self._meters.student.labels(now.name, now.version, now.student_hash).set(1)
        self._log.say("serving" if before is None else "reloaded", **said)


def _try(student: BaseStudent, folder: object) -> None:
    """ArtifactError unless the student scores an article; its postfilter and prefilter are made here too."""
    try:
        (answer,) = answer_rows(student, [InferenceRow(_TRIAL, labels=False)])
    except FilterkitError:
        raise
    except Exception as error:
        raise ArtifactError(f"cannot score ({type(error).__name__})", where=folder, fix="Train it again") from error
    if answer.get("error"):
        raise ArtifactError(f"cannot score ({answer['error']})", where=folder, fix="Train it again")


class Shelf:
    """All filters of a server."""

    def __init__(self, wanted: Sequence[Wanted], settings: Settings, meters: Meters, log: Log) -> None:
        self._all = [Served(one, settings, meters, log) for one in wanted]
        self._meters = meters

    async def load(self) -> None:
        """Load all students, one after the other. FilterkitError: one cannot be, or two answer to one name."""
        for served in self._all:
            await served.load()
        names = [_full(live) for live in self.live()]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ArtifactError(f"{min(twice)} is named twice", fix="Name every filter once")
        for name in {live.name for live in self.live()}:
            self._meters.waiting.labels(name).set_function(partial(self._waiting, name))

    async def look(self, *, anyway: bool = False) -> None:
        """Look for new students."""
        for served in self._all:
            await served.look(anyway=anyway)

    async def watch(self, every_s: float) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(every_s)
            await self.look()

    @property
    def ready(self) -> bool:
        return all(served.live is not None for served in self._all)

    def _waiting(self, name: str) -> int:
        """Articles that wait for the students of a filter, of all its versions."""
        return sum(live.lane.waiting for live in self.live() if live.name == name)

    def live(self) -> Iterator[Live]:
        """Who answers, in the order of the command line."""
        return (served.live for served in self._all if served.live is not None)

    def choose(self, name: str | None) -> Live:
        """The student of a filter, NAME or NAME@VERSION; the only one when none is named. HttpError when in doubt."""
        found = list(self.live())
        fitting = [live for live in found if name in (None, live.name, _full(live))]
        if len(fitting) == 1:
            return fitting[0]
        known = ", ".join(map(_full, found))
        if fitting:
            raise HttpError(400, "filter_needed", f"say which filter: {known}")
        near = get_close_matches(str(name)[:100], [live.name for live in found], 1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise HttpError(404, "no_such_filter", f"there is no such filter here, but {known}{guess}")


def _full(live: Live) -> str:
    return f"{live.name}@{live.version}"
