"""filterkit train"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from filterkit.cli.common import (
    FILE,
    FOLDER,
    Stop,
    backend_options,
    configure,
    data_dir,
    filter_argument,
    json_option,
    load,
    print_json,
    workspace_option,
)
from filterkit.cli.steps import job_folder, train_job, train_request, train_student
from filterkit.cli.train_words import show_packed, show_plan, show_trained
from filterkit.cli.training import TrainingProgress
from filterkit.config import Config, parse_option, sealed_config
from filterkit.errors import ConfigError, FilterkitError
from filterkit.filters import Filter
from filterkit.pipeline.data import SPLITS, Data, load_data
from filterkit.pipeline.jobs import SealedJob, check_runs_here, load_unpacked, pack_job, read_sealed, unpack_job
from filterkit.pipeline.ranks import Leader, Ranks
from filterkit.pipeline.train import TrainReport, TrainRequest, plan, train_along, trains_together, work_folder


@dataclass(frozen=True)
class Asked:
    """The command line."""

    filter_name: str | None
    filter_option: str | None
    data_dir_option: Path | None
    output_dir: Path | None
    trainer: str | None
    options: tuple[str, ...]
    model_name: str | None
    epochs: int | None
    batch_size: int | None
    precision: str | None
    gpu_memory: str | None
    seed: int | None
    only_plan: bool
    pack: Path | None
    job: Path | None
    workspace: Path | None
    as_json: bool

    def aliases(self) -> dict[str, Any]:
        """Options of the trainer that have a name on the command line."""
        given = {
            "trainer.base_model": self.model_name,
            "trainer.epochs": self.epochs,
            "trainer.batch_size": self.batch_size,
            "trainer.precision": self.precision,
            "trainer.gpu_memory": self.gpu_memory,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Task:
    """What is to be trained, from a filter and its splits or from a sealed job.

    fingerprint: of the data; load: filter and data, for a process that trains along; train: all of it.
    """

    request: TrainRequest
    out: Path
    fingerprint: Callable[[], str]
    load: Callable[[], tuple[Filter, Data]]
    train: Callable[..., TrainReport]


@click.command()
@filter_argument
@click.option(
    "--data-dir",
    "data_dir_option",
    type=FOLDER,
    help="The prepared splits.  [default: datasets/NAME-vN in the workspace]",
)
@click.option(
    "--output-dir", type=FOLDER, help="Where the student goes.  [default: model/ beside the filter, or students/]"
)
@backend_options("trainer")
@click.option("--model-name", metavar="ID", help="The trainer's option base_model.")
@click.option("--epochs", type=click.IntRange(min=1), help="The trainer's option epochs.")
@click.option("--batch-size", type=click.IntRange(min=1), help="The trainer's option batch_size.")
@click.option("--precision", metavar="NAME", help="The trainer's option precision.")
@click.option("--gpu-memory", metavar="SIZE", help="The trainer's option gpu_memory, such as 16GB.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), help="What fixes everything random.  [default: 0, or the job's]"
)
@click.option("--plan", "only_plan", is_flag=True, help="Say what training would take, and train nothing.")
@click.option("--pack", type=FILE, metavar="FILE", help="Seal the job in a file, to be run elsewhere; train nothing.")
@click.option("--job", type=FILE, metavar="FILE", help="Run a sealed job: it brings its filter, splits and options.")
@workspace_option
@json_option
def command(**given: Any) -> int:
    """Train a student on prepared splits.

    Started by torchrun or accelerate launch, its processes train together where the trainer can.
    """
    asked = Asked(**given)
    ranks = Ranks.of()
    if asked.only_plan or asked.pack:
        if asked.only_plan and asked.pack:
            raise click.UsageError("--plan and --pack: one at a time")
        if ranks.rank:
            return 0
        return _plan(asked) if asked.only_plan else _pack(asked)
    return _along(asked, ranks) if ranks.rank else _train(asked, ranks)


def _train(asked: Asked, ranks: Ranks) -> int:
    task = _sealed(asked) if asked.job else _at_home(asked)
    with Leader(work_folder(task.out), ranks) as leader, Stop() as stop, TrainingProgress() as progress:
        _say_who_trains(task.request, ranks)
        report = task.train(stop=stop, progress=progress, begins=leader.begins)
    if asked.as_json:
        manifest = report.manifest.model_dump(mode="json")
        print_json({"student": str(task.out), "already_there": report.already_there, **manifest})
    else:
        name = asked.filter_name or asked.filter_option
        show_trained(report, task.out, name, asked.job, asked.data_dir_option)
    return 0


def _along(asked: Asked, ranks: Ranks) -> int:
    """A process other than 0: what is wrong for all of them, process 0 says."""
    try:
        task = _sealed(asked) if asked.job else _at_home(asked)
        if not trains_together(task.request):
            return 0
        fingerprint = task.fingerprint()
    except FilterkitError as error:
        if ranks.with_first:
            return error.exit_code
        raise
    with Stop(quiet=True) as stop:
        return train_along(task.load, fingerprint, task.out, task.request, ranks, stop=stop)


def _say_who_trains(request: TrainRequest, ranks: Ranks) -> None:
    if ranks.world > 1 and not trains_together(request):
        warnings.warn(
            f"trainer {request.trainer} trains in one process; the other {ranks.world - 1} of this launch do nothing",
            stacklevel=2,
        )


def _pack(asked: Asked) -> int:
    if asked.job or asked.pack is None:
        raise click.UsageError("--pack seals a job, and --job runs one: one at a time")
    filter, config = _configured(asked)
    data = load_data(filter, _data_dir(asked, config, filter))
    sealed = pack_job(filter, data, train_request(config, asked.seed or 0), asked.pack)
    if asked.as_json:
        print_json({"job": str(asked.pack), "hash": sealed.hash, "sealed": sealed.model_dump(mode="json")})
    else:
        name = asked.filter_name or asked.filter_option or filter.name
        show_packed(sealed, asked.pack, name, asked.data_dir_option)
    return 0


def _plan(asked: Asked) -> int:
    with tempfile.TemporaryDirectory(prefix="filterkit-") as scratch:
        filter, data, out, request = _job_to_plan(asked, Path(scratch)) if asked.job else _home_to_plan(asked)
        found = plan(filter, data, out, request)
    if asked.as_json:
        print_json(dict(found))
    else:
        show_plan(found, request.trainer, filter, data)
    return 0


def _home_to_plan(asked: Asked) -> tuple[Filter, Data | None, Path, TrainRequest]:
    filter, config = _configured(asked)
    folder = _data_dir(asked, config, filter)
    prepared = asked.data_dir_option or any((folder / f"{name}.jsonl").is_file() for name in SPLITS)
    data = load_data(filter, folder) if prepared else None
    return filter, data, asked.output_dir or config.student_dir(filter), train_request(config, asked.seed or 0)


def _job_to_plan(asked: Asked, scratch: Path) -> tuple[Filter, Data | None, Path, TrainRequest]:
    path, sealed, request = _sealed_request(asked)
    check_runs_here(sealed, request.options, path)
    job = unpack_job(path, scratch / "job")
    return job.filter, job.data, asked.output_dir or Path("student"), request


def _configured(asked: Asked) -> tuple[Filter, Config]:
    filter = load(asked.filter_name, asked.filter_option, asked.workspace)
    return filter, configure(filter, asked.workspace, "trainer", asked.trainer, asked.options, asked.aliases())


def _data_dir(asked: Asked, config: Config, filter: Filter) -> Path:
    return asked.data_dir_option or data_dir(config, filter)


def _at_home(asked: Asked) -> Task:
    filter, config = _configured(asked)
    folder, seed = _data_dir(asked, config, filter), asked.seed or 0
    out = asked.output_dir or config.student_dir(filter)
    loaded: list[Data] = []

    def data() -> Data:
        if not loaded:
            loaded.append(load_data(filter, folder))
        return loaded[0]

    return Task(
        request=train_request(config, seed),
        out=out,
        fingerprint=lambda: data().info.fingerprint,
        load=lambda: (filter, data()),
        train=lambda **hooks: train_student(filter, config, folder, out, seed=seed, **hooks),
    )


def _sealed(asked: Asked) -> Task:
    path, sealed, request = _sealed_request(asked)
    out = asked.output_dir
    if out is None:
        raise click.UsageError("--job needs --output-dir: where the student goes")

    def unpacked() -> tuple[Filter, Data]:  # by process 0
        job = load_unpacked(sealed, job_folder(sealed, out), path)
        return job.filter, job.data

    return Task(
        request=request,
        out=out,
        fingerprint=lambda: sealed.data.fingerprint,
        load=unpacked,
        train=lambda **hooks: train_job(path, request, out, **hooks),
    )


def _sealed_request(asked: Asked) -> tuple[Path, SealedJob, TrainRequest]:
    """The job's file, the job, and what it asks for with the command line's options on top."""
    given = {
        "FILTER": asked.filter_name or asked.filter_option,
        "--data-dir": asked.data_dir_option,
        "--trainer": asked.trainer,
    }
    for name, value in given.items():
        if value:
            raise click.UsageError(f"--job brings its own: leave {name} out")
    if asked.job is None:
        raise click.UsageError("--job needs a file")
    sealed = read_sealed(asked.job)
    overrides = dict(parse_option(o, "trainer") for o in asked.options) | asked.aliases()
    strange = next((name for name in overrides if not name.startswith("trainer.")), None)
    if strange:
        raise click.UsageError(f"--job runs a trainer and nothing else: leave {strange} out")
    backends = {"trainer": {"use": sealed.trainer, **sealed.options}}
    config = sealed_config(asked.workspace or Path(), backends, f"job {asked.job}", overrides)
    name, options = config.backend("trainer")
    if name != sealed.trainer:
        raise ConfigError(f"the job is for trainer {sealed.trainer!r}, not {name!r}", where=asked.job)
    seed = sealed.seed if asked.seed is None else asked.seed
    return asked.job, sealed, sealed.request(options, seed, config.workspace)
