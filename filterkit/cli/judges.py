"""Who judges in a consensus: the configured oracle, a second one, and a referee where the two are far apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from filterkit.cli.common import F, configure
from filterkit.cli.compare_job import parse_oracle
from filterkit.cli.steps import before_labelling
from filterkit.config import Config, parse_option
from filterkit.errors import ConfigError, PluginError
from filterkit.filters import Filter
from filterkit.pipeline.judgement.consensus import Judge, Rule
from filterkit.store import Question

ROLES = ("second", "referee")


@dataclass(frozen=True)
class Wanted:
    """What a command line says of a consensus; what it leaves out is the configuration's to say."""

    second: str | None = None
    referee: str | None = None
    tolerance: float | None = None
    options: tuple[str, ...] = ()
    """-O with `second.` or `referee.` in front."""


@dataclass(frozen=True)
class Panel:
    """The judges, each with its configuration and its question; the referee, if any, is the last."""

    rule: Rule
    configs: tuple[Config, ...]
    questions: tuple[Question, ...]


def consensus_options(command: F) -> F:
    """--second, --referee and --tolerance"""
    command = click.option(
        "--tolerance",
        type=click.FloatRange(min=0),
        callback=_finite,
        metavar="POINTS",
        help="How far the two may differ on a dimension before the referee is asked.  [default: 2]",
    )(command)
    command = click.option(
        "--referee",
        metavar="NAME[:MODEL]",
        help="A third oracle, for articles that the two disagree about; -O referee.KEY=VALUE for its options.",
    )(command)
    return click.option(
        "--second",
        metavar="NAME[:MODEL]",
        help="A second oracle, for a consensus with the first; -O second.KEY=VALUE for its options.",
    )(command)


def _finite(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("name a number of points")
    return value


def parted(options: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The -O that are for the first oracle, and those that are for the second or the referee."""
    others = tuple(option for option in options if option.split(".")[0] in ROLES)
    return tuple(option for option in options if option not in others), others


def panel_of(
    filter: Filter, config: Config, workspace: Path | None, wanted: Wanted, store_file: Path, *, asks: bool = True
) -> Panel | None:
    """The judges that the command line and `config` (of the first one) name; None where no second one is.

    With `asks` False a plugin may be missing, if the model is named. ConfigError: a referee without a second judge, or
    one oracle twice.
    """
    own = config.settings.consensus
    second, referee = wanted.second or own.second, wanted.referee or own.referee
    if second is None:
        if referee or wanted.tolerance is not None or wanted.options:
            raise ConfigError(
                "a consensus needs a second oracle", fix="Name it: --second NAME[:MODEL], or consensus.second in config"
            )
        return None
    named = {"second": second} | ({"referee": referee} if referee else {})
    stray = [option for option in wanted.options if option.split(".")[0] not in named]
    if stray:
        raise ConfigError(f"-O {stray[0]}: there is no referee", fix="Name it: --referee NAME[:MODEL]")
    configs = [config] + [_config_of(role, text, filter, config, workspace, wanted) for role, text in named.items()]
    questions = [_question(filter, config, store_file, asks)]
    for (role, text), one in zip(named.items(), configs[1:], strict=True):
        try:
            questions.append(_question(filter, one, store_file, asks))
        except ConfigError as error:
            if "model" in one.backend("oracle")[1]:
                raise
            raise ConfigError(error.what, where=error.where, fix=f"Name it: --{role} {text}:MODEL") from error
    for number, question in enumerate(questions):
        if question in questions[:number]:
            raise ConfigError(
                f"{_judge(question)} would judge twice: its answers are shared", fix="Name another oracle or model"
            )
    judges = [_judge(question) for question in questions]
    tolerance = own.tolerance if wanted.tolerance is None else wanted.tolerance
    rule = Rule(judges[0], judges[1], judges[2] if referee else None, tolerance)
    return Panel(rule, tuple(configs), tuple(questions))


def _config_of(role: str, text: str, filter: Filter, config: Config, workspace: Path | None, wanted: Wanted) -> Config:
    """The configuration with another oracle in the place of the first."""
    try:
        oracle = parse_oracle(text)
    except ConfigError:
        oracle = None
    if oracle is None or oracle.label:
        raise ConfigError(f"--{role} takes NAME or NAME:MODEL, not {text[:80]!r}")
    section = config.settings.consensus
    options: dict[str, Any] = dict(section.second_options if role == "second" else section.referee_options)
    more: dict[str, Any] = {f"oracle.{key}": value for key, value in options.items()}
    more |= dict(parse_option(o.removeprefix(f"{role}."), "oracle") for o in wanted.options if o.startswith(f"{role}."))
    if oracle.model is not None:
        more["oracle.model"] = oracle.model
    return configure(filter, workspace, "oracle", oracle.use, (), more)


def _question(filter: Filter, config: Config, store_file: Path, asks: bool) -> Question:
    try:
        with before_labelling(filter, config, store_file) as labelling:
            return labelling.question
    except PluginError:
        name, given = config.backend("oracle")
        if asks or "model" not in given:
            raise
        return Question(filter.request_hash(), name, str(given["model"]), filter.name)


def _judge(question: Question) -> Judge:
    return Judge(question.oracle, question.model)
