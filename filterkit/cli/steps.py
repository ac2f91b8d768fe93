"""One function per step of the pipeline, as the commands call them: from a configuration to a report."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from filterkit.cli.common import limits_of
from filterkit.config import Config
from filterkit.contracts import Batch, Context, Oracle
from filterkit.contracts.base import environment_secret
from filterkit.errors import ConfigError, PluginError
from filterkit.filters import Filter
from filterkit.io import Rejects, expand, refuse_to_overwrite, rejects_name
from filterkit.options import check_options, make_backend
from filterkit.pipeline.batches import require_batch
from filterkit.pipeline.data import Data, Rows, load_data
from filterkit.pipeline.deploy import DeployPlan, DeployReport, deploy, plan_deployment
from filterkit.pipeline.estimate import Estimate, Older, estimate, older_labels
from filterkit.pipeline.jobs import SealedJob, check_runs_here, read_sealed, unpack_job
from filterkit.pipeline.label import LabelReport, LabelSettings, label, question_of
from filterkit.pipeline.pilot import PilotReport, Sample, pilot_report
from filterkit.pipeline.pricing import Pricing
from filterkit.pipeline.references import Judge, judged_by_people, label_cost, other_judges
from filterkit.pipeline.train import Progress, TrainReport, TrainRequest, check_free, train, work_folder
from filterkit.pipeline.validate import Beside, ValidationReport, validate
from filterkit.plugins import plugins
from filterkit.records import Article
from filterkit.spec import Gates
from filterkit.store import Limits, Question, Spent, Store


def _never() -> bool:
    return False


def rejects_beside(files: Sequence[str | Path], folder: Path) -> Rejects:
    """Where lines of these files that cannot be read are written: `<first file>.rejected.jsonl` in `folder`."""
    path = folder / rejects_name(expand(files)[0].name)
    refuse_to_overwrite(files, path)
    return Rejects(path)


def work_dir(config: Config, name: str) -> Path:
    """A folder for what a step keeps between runs."""
    return config.workspace / ".filterkit" / name


def context(config: Config, name: str) -> Context:
    """What a backend gets of the outside, its folder made."""
    folder = work_dir(config, name)
    folder.mkdir(parents=True, exist_ok=True)
    return Context(workdir=folder, root=config.workspace)


def make_oracle(config: Config, filter: Filter, *, asks: bool = True) -> tuple[str, Oracle[Any]]:
    """The configured oracle and its name. With `asks=False` it will not be opened, and needs no key.

    Its folder is made by `label_articles`: what only looks, or fails here, leaves nothing behind.
    """
    name, options = config.backend("oracle")
    given = Context(workdir=work_dir(config, f"oracle-{name}"), root=config.workspace)
    if not asks:
        given = dataclasses.replace(given, secret=_secret_or_nothing)
    oracle: Oracle[Any] = make_backend("oracle", name, options, filter.spec, given)
    return name, oracle


def _secret_or_nothing(name: str) -> str:
    try:
        return environment_secret(name)
    except ConfigError:
        return ""


@dataclasses.dataclass(frozen=True)
class Labelling:
    """What can be told of labelling before anything is asked. `store` is None where there is none yet."""

    filter: Filter
    pricing: Pricing
    question: Question
    store: Store | None
    limits: Limits
    deterministic: bool = False

    def require_price(self, max_cost: float | None) -> None:
        """ConfigError when there is a budget, --max-cost or the workspace's, and nothing says what a request costs."""
        if max_cost is not None or self.limits:
            self.pricing.require()

    @property
    def spent(self) -> Spent:
        """What this question has cost so far, in all runs."""
        return Spent(0.0, 0.0, 0) if self.store is None else self.store.spent(self.question)

    def older(self) -> list[Older]:
        """Labels that answer another question, and so are not used."""
        return [] if self.store is None else older_labels(self.store, self.question)

    def estimate(
        self,
        articles: Iterable[Article],
        *,
        retry_failed: bool = False,
        older: Sequence[Older] = (),
        each: Any = None,
        sample: int = 0,
    ) -> Estimate:
        """What labelling the articles will ask and cost."""
        return estimate(
            self.filter,
            articles,
            self.pricing,
            self.question,
            self.store,
            retry_failed=retry_failed,
            older=older,
            each=each,
            sample=sample,
        )

    def pilot(self, sample: Sample, estimated: Estimate, store_file: Path, answer: int = 0) -> PilotReport:
        """What a labelled sample shows; `answer` is the number of the answer to each question."""
        with Store(store_file, create=False) as store:
            return pilot_report(self.filter, sample, estimated, self.pricing, store, self.question, answer)


@contextlib.contextmanager
def before_labelling(filter: Filter, config: Config, store_file: Path, *, batch: bool = False) -> Iterator[Labelling]:
    """The configured labelling, to be looked at; the oracle is not opened, no store is made, nothing is asked.

    `batch`: at the price of batch jobs; ConfigError for an oracle without them.
    """
    name, oracle = make_oracle(config, filter, asks=False)
    try:
        if batch:
            require_batch(oracle, name, oracles_with_batch)
        pricing = Pricing(filter, oracle, listed=plugins().prices, own=config.settings.prices, batch=batch)
        question = question_of(filter, oracle, name)
        with contextlib.ExitStack() as stack:
            store = stack.enter_context(Store(store_file, create=False)) if store_file.is_file() else None
            yield Labelling(filter, pricing, question, store, limits_of(config), oracle.deterministic)
    finally:
        oracle.close()


def oracles_with_batch() -> list[str]:
    """The names of the oracles that answer batches. Imports all of them."""
    found = []
    for name in sorted({entry.name for entry in plugins().entries("oracle")}):
        with contextlib.suppress(PluginError):
            found += [name] if issubclass(plugins().load("oracle", name), Batch) else []
    return found


def label_settings(config: Config, **more: Any) -> LabelSettings:
    """How the workspace wants its articles labelled, and what a command says of it."""
    return LabelSettings(**config.settings.label.model_dump(exclude={"screen"}), **more)


def label_articles(
    filter: Filter,
    config: Config,
    articles: Iterable[Article],
    store_file: Path,
    *,
    limit: int | None = None,
    retry_failed: bool = False,
    max_cost_usd: float | None = None,
    sample: int = 0,
    progress: Callable[[LabelReport], None] = lambda _: None,
    stop: Callable[[], bool] = _never,
    new_store: Callable[[Path], None] = lambda _: None,
) -> LabelReport:
    """Have the configured oracle label the articles. `new_store` is called before a label store is made.

    `sample`: the number of the answer, where a question is asked more than once.
    """
    name, oracle = make_oracle(config, filter)
    settings = label_settings(
        config,
        limit=limit,
        max_cost_usd=max_cost_usd,
        retry_failed=retry_failed,
        sample=sample,
    )
    try:
        work_dir(config, f"oracle-{name}").mkdir(parents=True, exist_ok=True)
        if not store_file.exists():
            new_store(store_file)
        with Store(store_file, limits=limits_of(config)) as store:
            report = label(
                filter,
                articles,
                oracle,
                store,
                settings,
                oracle_name=name,
                prices=plugins().prices,
                own_prices=config.settings.prices,
                observe=plugins().observe,
                progress=progress,
                stop=stop,
            )
    finally:
        oracle.close()
    finished("label", filter, {"read": report.read, "new": report.new, "failed": report.failed})
    return report


def train_request(config: Config, seed: int) -> TrainRequest:
    """What the configuration asks to be trained."""
    name, options = config.backend("trainer")
    return TrainRequest(name, options, seed, root=config.workspace)


def train_student(
    filter: Filter,
    config: Config,
    data: Path,
    out: Path,
    *,
    seed: int = 0,
    stop: Callable[[], bool] = _never,
    progress: Progress = lambda _: None,
    begins: Callable[[], None] = lambda: None,
) -> TrainReport:
    """Train the configured trainer's student on the splits in `data`."""
    request = train_request(config, seed)
    check_options(plugins().load("trainer", request.trainer), "trainer", request.trainer, request.options)
    report = train(filter, load_data(filter, data), out, request, stop=stop, progress=progress, begins=begins)
    finished("train", filter, {"student": str(out), "student_hash": report.manifest.student_hash})
    return report


def job_folder(sealed: SealedJob, out: Path) -> Path:
    """Where a sealed job is unpacked: in the work folder of the student, and gone with it."""
    return work_folder(out) / f"job-{sealed.hash[:16]}"


def train_job(
    path: Path,
    request: TrainRequest,
    out: Path,
    *,
    stop: Callable[[], bool] = _never,
    progress: Progress = lambda _: None,
    begins: Callable[[], None] = lambda: None,
) -> TrainReport:
    """Train what the sealed job in `path` asks for, with the options of `request`."""
    sealed = read_sealed(path)
    check_runs_here(sealed, request.options, path)
    check_free(sealed.filter, out)  # before texts are unpacked there
    job = unpack_job(path, job_folder(sealed, out))
    report = train(job.filter, job.data, out, request, stop=stop, progress=progress, begins=begins)
    finished("train", job.filter, {"student": str(out), "student_hash": report.manifest.student_hash})
    return report


def validate_student(
    filter: Filter,
    config: Config,
    student: Path,
    data: Path,
    *,
    folds: int = 0,
    against: Path | None = None,
    people: Sequence[str] = (),
    store_file: Path | None = None,
    stop: Callable[[], bool] = _never,
) -> ValidationReport:
    """Hold the student against the labels, under the gates in force; beside it whatever else is known of them."""
    gates, looser = config.gates(filter.spec)
    loaded = load_data(filter, data)
    report = validate(
        filter,
        student,
        loaded,
        work_dir(config, f"validate-{filter.name}"),
        folds=folds,
        gates=gates,
        looser=looser,
        beside=_beside(filter, loaded, against, people, store_file),
        root=config.workspace,
        stop=stop,
    )
    finished("validate", filter, {"passed": report.record.passed, "mae": report.evaluation.metrics.mae})
    return report


def _beside(filter: Filter, data: Data, against: Path | None, people: Sequence[str], store_file: Path | None) -> Beside:
    """What the student is shown beside: of people's files, and of the store if there is one."""
    file = store_file if store_file and store_file.is_file() else None

    def judges(rows: Rows) -> list[Judge]:
        found: list[Judge] = []
        if file:
            with Store(file, create=False) as store:
                found += other_judges(filter.spec, data.info, rows.articles, rows.labels, store)
        if people:
            found.append(judged_by_people(filter.spec, rows.articles, people))
        return found

    cost = None
    if file:
        with Store(file, create=False) as store:
            cost = label_cost(data.info, store)
    return Beside(against, judges, cost)


def deploy_student(
    filter: Filter,
    config: Config,
    student: Path,
    *,
    force: str | None = None,
    say: Callable[[Sequence[str]], None] = lambda _: None,
) -> DeployReport:
    """Ship the student with the configured deployer. Loosened gates are warned of; `say` gets the plan."""
    name, options = config.backend("deployer")
    gates = _gates_in_force(filter, config)
    given = context(config, f"deployer-{name}")
    report = deploy(filter, student, name, options, given, gates=gates, force=force, say=say)
    finished("deploy", filter, report.to_dict())
    return report


def plan_student(filter: Filter, config: Config, student: Path, *, force: str | None = None) -> DeployPlan:
    """What shipping the student with the configured deployer would do."""
    name, options = config.backend("deployer")
    gates = _gates_in_force(filter, config)
    return plan_deployment(
        filter, student, name, options, context(config, f"deployer-{name}"), gates=gates, force=force
    )


def _gates_in_force(filter: Filter, config: Config) -> Gates:
    gates, looser = config.gates(filter.spec)
    for words in looser:
        warnings.warn(words, stacklevel=3)
    return gates


def finished(command: str, filter: Filter, summary: dict[str, Any]) -> None:
    """Tell observers that a step came to its end."""
    plugins().observe("run_finished", command=command, filter_name=filter.name, summary=summary)
