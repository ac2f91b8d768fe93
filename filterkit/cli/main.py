"""The front door. `filterkit --help` imports click and nothing of weight; a command is imported when it is called."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from filterkit.cli.added import added_commands, load_added, whose
from filterkit.errors import FilterkitError, Veto

COMMANDS = {
    "demo": "The whole job on the bundled sample: label, audit, train, validate, deploy, score.",
    "init": "Make a workspace.",
    "new": "Make a filter package or a plugin that passes its own tests.",
    "check": "List all that is wrong with filter packages.",
    "filters": "List the filter packages that are installed.",
    "plugins": "List the plugins that are installed, or one backend's options.",
    "config": "Show the merged configuration and where each value came from.",
    "sample": "Choose articles to label out of files of any size, in one pass.",
    "label": "Ask an oracle to score articles; what was answered is never asked again.",
    "jobs": "List the batch jobs that are out; cancel, attach or forget one.",
    "labels": "Bring labels in and out of the store, count them, merge, back up, forget.",
    "compare": "Hold oracles, or rubrics, against each other on a sample of articles.",
    "audit": "Say what is wrong with the labels before anybody learns from them.",
    "prepare": "Turn labels into train, val and test splits.",
    "train": "Train a student on prepared splits.",
    "students": "Take students home that were trained elsewhere.",
    "validate": "Hold a student against the oracle, ask the gates, and write report.html into its folder.",
    "deploy": "Ship a student that passed its gates, and verify what was shipped.",
    "deployments": "List what was deployed and what is live, and say where records and target disagree.",
    "rollback": "Put an earlier deployment live again, verified as it was when it was deployed.",
    "verify": "Prove that a copy, an endpoint or a server answers as a student does, and how fast.",
    "score": "Judge new articles with trained students.",
    "cost": "Compute what labelling, training and serving cost, against asking the oracle for everything.",
    "run": "label, audit, prepare, train, validate, deploy: each step goes on where it stopped.",
}
"""Command -> its line in the help, in the order of the work. Each lives in the module of its name."""

ELSEWHERE = {"endpoint": "filterkit-hf", "serve": "filterkit-serve"}
"""Commands of filterkit's own dists, so that calling one that is not there says what to install."""

INTERRUPTED, BUG = 130, 70
PIPE_CLOSED = 141
"""What a shell reports of any program whose reader went away."""


class LazyGroup(click.Group):
    """Knows its commands by name; imports one when it is called."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _reader_may_leave():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _reader_may_leave():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *added_commands(COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            command: click.Command = importlib.import_module(f"filterkit.cli.{cmd_name}").command
            return command
        claims = added_commands(COMMANDS).get(cmd_name)
        return load_added(cmd_name, claims) if claims else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if args[0] in ELSEWHERE:
                dist = ELSEWHERE[args[0]]
                raise click.UsageError(f"{args[0]!r} is a command of {dist}: pip install {dist}", ctx) from None
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), 1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"{error.format_message()}{guess}", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table and from metadata: nothing is imported."""
        rows = list(COMMANDS.items())
        for name, claims in added_commands(COMMANDS).items():
            rows.append((name, f"(from {' and '.join(map(whose, claims))})"))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """`filterkit … | head`: click's own answer to it is exit code 1, which here is a gate's no."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(PIPE_CLOSED) from None


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="filterkit", message="%(package)s %(version)s")
def cli() -> None:
    """Distil an LLM's judgement of articles into a small student model that anyone can run.

    First steps: `filterkit demo`, then `filterkit init DIR`.
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a gate said no, 2 change something, 3 some records failed,
    4 stopped early, 130 interrupted."""
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """Run one command and return its exit code. A user's mistake is one line, never a traceback."""
    _show_warnings_as_lines()
    try:
        code = cli.main(args=args, prog_name="filterkit", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        with _nobody_may_read():
            error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        _say("Interrupted. Run the same command again to go on.")
        return INTERRUPTED
    except FilterkitError as error:
        _say(f"Error: {error}")
        return error.exit_code
    except Veto as veto:
        _say(f"Error: {veto}")
        return 1
    except BrokenPipeError:  # `filterkit … | head`, seen when the last lines are flushed
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - what Python flushes at exit goes nowhere
        return PIPE_CLOSED
    except OSError as error:
        if error.errno is None:
            return _bug(error)
        _say(f"Error: {error.filename or 'a file'}: {error.strerror}")
        return 2
    except Exception as error:
        return _bug(error)


def _bug(error: Exception) -> int:
    import traceback

    _say("".join(traceback.format_exception(error)))
    _say("This is a bug in filterkit or in a plugin, not in what you did. Nothing that was committed is lost.")
    return BUG


def _say(text: str) -> None:
    if "filterkit.contracts.base" in sys.modules:  # only then can a secret have been read
        from filterkit.contracts.base import redact

        text = redact(text)
    with _nobody_may_read():
        click.echo(text.rstrip("\n"), err=True)


@contextlib.contextmanager
def _nobody_may_read() -> Iterator[None]:
    """Whoever read stderr may have gone away: the exit code still tells."""
    try:
        yield
    except OSError:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - what Python flushes at exit goes nowhere


def _show_warnings_as_lines() -> None:
    import warnings

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        _say(f"Warning: {message}")

    warnings.showwarning = show
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("always", category=UserWarning, module="filterkit")
