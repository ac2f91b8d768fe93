"""filterkit serve"""

from __future__ import annotations

import math
from pathlib import Path

import click

from filterkit_serve.settings import Settings, Wanted

FOLDER = click.Path(path_type=Path, file_okay=False)
COUNT = click.IntRange(min=1)
D = Settings()


class Seconds(click.FloatRange):
    """A time that ends."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value} is no time", param, ctx)
        return seconds


SECONDS = Seconds(min=0)


@click.command()
@click.argument("names", metavar="FILTER…", nargs=-1)
@click.option("--filter", "more", multiple=True, metavar="FILTER", help="A filter, as FILTER may be given too.")
@click.option(
    "--student",
    "--model",
    "students",
    multiple=True,
    type=FOLDER,
    help="The student's folder, one per filter; or deployments/FILTER, for what the deployer `local` has made live.  "
    "[default: where `filterkit train` puts it]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0: any free one.")
@click.option("--no-token", is_flag=True, help="Listen without a token on an address that others reach.")
@click.option("--device", default="auto", show_default=True, help="Where students run: auto, cpu, cuda …")
@click.option("--threads", type=COUNT, help="CPU threads of a student.")
@click.option("--max-body", default=D.body, show_default=True, type=COUNT, help="Bytes of one request's body.")
@click.option("--max-inputs", default=D.inputs, show_default=True, type=COUNT, help="Articles of one request.")
@click.option("--max-queue", default=D.queue, show_default=True, type=COUNT, help="Articles that wait for one student.")
@click.option("--max-held", default=D.held, show_default=True, type=COUNT, help="Bytes of all bodies at once.")
@click.option("--max-connections", default=D.connections, show_default=True, type=COUNT, help="Connections at once.")
@click.option(
    "--batch-wait-ms",
    default=D.wait_s * 1000,
    show_default=True,
    type=SECONDS,
    help="How long an article waits for others to be scored with it, when nothing is being scored.",
)
@click.option(
    "--read-timeout",
    default=D.read_s,
    show_default=True,
    type=Seconds(min=0, min_open=True),
    help="Seconds that a client has for its headers, for its body, and for taking the answer.",
)
@click.option(
    "--drain-delay",
    default=D.accept_s,
    show_default=True,
    type=SECONDS,
    help="Seconds after SIGTERM in which connections are still accepted, until a balancer has seen /ready.",
)
@click.option(
    "--drain-timeout",
    default=D.drain_s,
    show_default=True,
    type=SECONDS,
    help="Seconds that accepted requests have left after SIGTERM.",
)
@click.option(
    "--watch",
    default=D.watch_s,
    show_default=True,
    type=SECONDS,
    help="Seconds between two looks for a new student; 0: only at SIGHUP.",
)
@click.option("--workspace", type=FOLDER, help="The workspace: the folder of filterkit.yaml.  [default: this folder]")
def command(
    names: tuple[str, ...],
    more: tuple[str, ...],
    students: tuple[Path, ...],
    host: str,
    port: int,
    no_token: bool,
    device: str,
    threads: int | None,
    max_body: int,
    max_inputs: int,
    max_queue: int,
    max_held: int,
    max_connections: int,
    batch_wait_ms: float,
    read_timeout: float,
    drain_delay: float,
    drain_timeout: float,
    watch: float,
    workspace: Path | None,
) -> int:
    """Answer HTTP requests with trained students, and show a page to try them at /.

    A bearer token, if there is one, is read from the environment variable FILTERKIT_SERVE_TOKEN.
    """
    filters = [*names, *more]
    if not filters:
        raise click.UsageError("name at least one filter")
    if students and len(students) != len(filters):
        raise click.UsageError(f"{len(filters)} filters need as many --student, not {len(students)}")
    if max_queue < max_inputs:
        raise click.UsageError(f"--max-queue {max_queue} has no room for one request of --max-inputs {max_inputs}")
    if max_held < max_body:
        raise click.UsageError(f"--max-held {max_held} has no room for one body of --max-body {max_body}")
    from filterkit_serve.address import token

    settings = Settings(
        body=max_body,
        inputs=max_inputs,
        queue=max_queue,
        held=max_held,
        connections=max_connections,
        wait_s=batch_wait_ms / 1000,
        read_s=read_timeout,
        drain_s=drain_timeout,
        accept_s=drain_delay,
        watch_s=watch or None,
        token=token(),
        device=device,
        threads=threads,
    )
    folders = students or tuple(_student_of(name, workspace) for name in filters)
    wanted = [Wanted(name, student) for name, student in zip(filters, folders, strict=True)]
    from filterkit_serve.run import run

    return run(wanted, settings, host, port, no_token=no_token)


def _student_of(name: str, workspace: Path | None) -> Path:
    """Where a filter's student lies unless said otherwise. FilterkitError: no such filter or workspace."""
    from filterkit.api import load_config, load_filter

    return load_config(workspace).student_dir(load_filter(name))
