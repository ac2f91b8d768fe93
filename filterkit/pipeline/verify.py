"""verify: does a copy, an endpoint or a server answer as the student does, how fast, and for how much?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filterkit.contracts import Scorer
from filterkit.errors import ArtifactError, GateRefused
from filterkit.files import sha256_file
from filterkit.manifest import FILE_NAME, OWN_FILES, UNSAFE_SUFFIXES
from filterkit.pipeline.deployments import Records
from filterkit.pipeline.proof import SAMPLES, TOLERANCE, as_scores, largest_difference
from filterkit.pipeline.train import raw_scores
from filterkit.pipeline.verify_places import Place, place_of, reached
from filterkit.pipeline.verify_timing import Speed, in_batches, measure
from filterkit.pipeline.verify_verdicts import different_verdict
from filterkit.prompt import student_text
from filterkit.records import F32, Article
from filterkit.shipped import FILE_NAME as SHIPPED_NAME
from filterkit.shipped import read_shipped, student_folder
from filterkit.student import Student, load_student

HARMLESS = {"README.md", ".gitattributes", SHIPPED_NAME}
MOST_RECORDS = 20
"""Earlier students that are tried when something answers as another one."""
_LENGTHS = (1, 2, 4, 9, 25)
_SINCE = " (or the student here was validated or forced since: deploy it again)"


@dataclass(frozen=True)
class Check:
    """One question and its answer; passed is None where it could not be asked."""

    name: str
    passed: bool | None
    said: str


@dataclass(frozen=True)
class VerifyReport:
    """What was found. samples: how many articles were scored; speed and prices are None where nothing was scored."""

    target: str
    student_hash: str
    samples: int
    checks: tuple[Check, ...]
    speed: Speed | None
    usd_per_hour: float | None

    @property
    def refusal(self) -> str | None:
        """What differs first, in words; None when all is well."""
        return next((check.said for check in self.checks if check.passed is False), None)

    @property
    def usd_per_1000(self) -> float | None:
        """US dollars for 1,000 articles in batches, when it is as busy as it can be."""
        if self.speed is None or self.usd_per_hour is None:
            return None
        return self.usd_per_hour / 3600 / self.speed.per_second * 1000

    def to_dict(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "student_hash": self.student_hash,
            "passed": self.refusal is None,
            "samples": self.samples,
            "checks": [{"name": c.name, "passed": c.passed, "said": c.said} for c in self.checks],
            "latency_ms": self.speed.latency_ms if self.speed else None,
            "articles_per_second": self.speed.per_second if self.speed else None,
            "usd_per_hour": self.usd_per_hour,
            "usd_per_1000": self.usd_per_1000,
        }


def sample_articles(n: int) -> list[Article]:
    """`n` different articles in several languages, from none to some hundred words, the second without any."""
    texts = [text.partition("\n\n") for text in SAMPLES if text]
    found: list[Article] = []
    for i in range(n):
        if i == 1:
            found.append(Article("sample-1", "", ""))
            continue
        title, _, body = texts[i % len(texts)]
        _, _, other = texts[(i + 1 + i // len(texts)) % len(texts)]
        content = " ".join([body, other] * _LENGTHS[i % len(_LENGTHS)])
        found.append(Article(f"sample-{i}", f"{title} {i}", content))
    return found


def verify(
    target: str,
    student_dir: Path,
    articles: Sequence[Article],
    *,
    max_latency_ms: float = 500.0,
    usd_per_hour: float | None = None,
    options: Mapping[str, Any] = {},
    records: Records | None = None,
) -> VerifyReport:
    """Hold what is at `target` against the student in a folder.

    max_latency_ms: 0 asks for no speed. options: those of the remote model. records: where earlier students are looked
    up by name. Raises StoppedEarly when the target cannot be reached; ConfigError, PluginError, ArtifactError when it
    cannot be asked, or the student here is damaged; GateRefused when a folder does not say what is live in it.
    """
    student_dir = student_folder(student_dir)
    ours = load_student(student_dir)
    try:
        with reached(target):
            place = place_of(target, ours.spec, options)
            try:
                return _Verification(target, student_dir, ours, place, articles, records).run(
                    max_latency_ms, usd_per_hour
                )
            finally:
                place.close()
    finally:
        ours.close()


@dataclass
class _Verification:
    target: str
    student_dir: Path
    ours: Student
    place: Place
    articles: Sequence[Article]
    records: Records | None

    def run(self, max_latency_ms: float, usd_per_hour: float | None) -> VerifyReport:
        checks = [self._which_student(), self._files()]
        speed = None
        if all(check.passed is not False for check in checks):
            scorer = self.place.scorer()
            try:
                checks += self._answers(scorer)
                speed = measure(scorer, self._texts())
            finally:
                scorer.close()
            checks.append(_fast_enough(speed, max_latency_ms))
        price = usd_per_hour if usd_per_hour is not None else self.place.usd_per_hour()
        count = len(self.articles) if speed else 0
        return VerifyReport(self.target, self.ours.manifest.student_hash, count, tuple(checks), speed, price)

    def _which_student(self) -> Check:
        theirs, ours = self.place.student_hash(), self.ours.manifest.student_hash
        if theirs is None:
            return Check("student", None, "it does not say which student it is")
        if theirs != ours:
            return Check("student", False, f"it is another student, {self._named(theirs)}, not {ours[:12]}")
        return Check("student", True, ours[:12])

    def _named(self, student_hash: str) -> str:
        """A student as people know it: by its hash, and when it was put live from here."""
        known = [r for r in self.records.read()[0] if r.student_hash == student_hash] if self.records else []
        return student_hash[:12] + (f" (put live on {known[-1].when:%Y-%m-%d})" if known else "")

    def _files(self) -> Check:
        try:
            theirs = self.place.hashes()
            if theirs is None:
                return Check("files", None, "they cannot be asked for")
            return Check("files", True, f"{self._check_files(theirs)} files have the hashes that they have here")
        except (ArtifactError, GateRefused) as error:
            return Check("files", False, error.what)

    def _check_files(self, theirs: Mapping[str, str]) -> int:
        ours = {name: entry.sha256 for name, entry in self.ours.manifest.files.items()}
        ours[FILE_NAME] = sha256_file(self.student_dir / FILE_NAME)
        expected = dict(ours) | self._vouched_for()
        for name in sorted(OWN_FILES - set(ours)):
            if name in theirs and (self.student_dir / name).is_file():
                expected[name] = sha256_file(self.student_dir / name)
        for name, sha256 in {**expected, **ours}.items():
            if name not in theirs:
                raise GateRefused(f"{name} is not there")
            if theirs[name] != sha256:
                raise GateRefused(f"{name} is another file there{_SINCE if name == FILE_NAME else ''}")
        for name in sorted(set(theirs) - set(expected) - HARMLESS):
            unsafe = Path(name).suffix.lower() in UNSAFE_SUFFIXES or not name.startswith(".cache/")
            if unsafe:
                raise GateRefused(f"{name} is no part of the student, and no {SHIPPED_NAME} vouches for it")
        return len(expected)

    def _vouched_for(self) -> dict[str, str]:
        """What a deployer put there by its own record. GateRefused when that is of another student."""
        data = self.place.stored(SHIPPED_NAME)
        if data is None:
            return {}
        shipped = read_shipped(data, SHIPPED_NAME)
        if shipped.student_hash != self.ours.manifest.student_hash:
            raise GateRefused(f"{SHIPPED_NAME} is of another student, {self._named(shipped.student_hash)}")
        return shipped.files

    def _texts(self) -> list[str]:
        return [student_text(self.ours.spec, article) for article in self.articles]

    def _answers(self, scorer: Scorer) -> list[Check]:
        """Whether it scores and judges as the student here."""
        here = self.ours.read(self.articles).scores
        there = raw_scores(scorer, self._texts(), len(self.ours.spec.names))
        difference = largest_difference(here, there)
        if difference is None or difference > TOLERANCE:
            return [Check("scores", False, self._differs(scorer, here, there, difference))]
        return [Check("scores", True, f"differ by at most {difference:.2g}"), self._verdicts(scorer, there)]

    def _differs(self, scorer: Scorer, here: F32, there: F32, difference: float | None) -> str:
        if difference is None:
            rows = "other articles" if here.shape == there.shape else "other dimensions"
            said = f"it scores {rows} than the student here"
        else:
            said = f"its scores differ by up to {difference:.4g}"
        other = self._answers_as(scorer)
        return f"{said}: it answers as another student, {other}" if other else said

    def _answers_as(self, scorer: Scorer) -> str | None:
        """The student that was put live from here whose samples are scored as it scores them."""
        seen: set[str] = set()
        for record in reversed(self.records.read(self.ours.spec.name)[0] if self.records else []):
            if record.student_hash in seen or not record.samples or len(seen) == MOST_RECORDS:
                continue
            seen.add(record.student_hash)
            texts = [sample.text for sample in record.samples]
            found = raw_scores(scorer, texts, len(record.samples[0].scores))
            difference = largest_difference(as_scores(record.samples), found)
            if difference is not None and difference <= TOLERANCE:
                return self._named(record.student_hash)
        return None

    def _verdicts(self, scorer: Scorer, there: F32) -> Check:
        answers: list[dict[str, Any]] = []
        for part in in_batches(self.articles, scorer.max_batch):
            said = scorer.verdicts([article.to_dict() for article in part])
            if said is None:
                return Check("verdicts", None, "it gives scores only")
            answers += said
        wrong = different_verdict(self.ours, self.articles, there, answers)
        return Check("verdicts", wrong is None, wrong or f"{len(answers)} are the same")


def _fast_enough(speed: Speed, max_latency_ms: float) -> Check:
    p95 = speed.latency_ms["p95"]
    if not max_latency_ms:
        return Check("latency", None, f"p95 is {p95:,.1f} ms, and no limit is set")
    passed = p95 <= max_latency_ms
    relation = "under" if passed else "over"
    return Check("latency", passed, f"p95 of single articles is {p95:,.1f} ms, {relation} {max_latency_ms:,g} ms")
