"""`python -m filterkit.testing.fake_hub`: serves until Ctrl-C, and says where."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading

from filterkit.errors import FilterkitError
from filterkit.testing.fake_hub import FakeHub, Fault


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m filterkit.testing.fake_hub",
        description="A fake Hugging Face Hub with Inference Endpoints on 127.0.0.1.",
    )
    parser.add_argument("--port", type=int, default=8080, help="0 for a free one (default 8080)")
    parser.add_argument("--token", default="hf_fakeWriteToken", help="the token that may write")
    parser.add_argument("--read-token", default="hf_fakeReadToken", help="the token that may only read")
    parser.add_argument("--user", default="me", help="whose tokens they are")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that runs handlers")
    parser.add_argument("--polls", type=int, default=2, help="how often an endpoint is asked for until it runs")
    parser.add_argument("--fault", action="append", default=[], metavar="JSON", help="the arguments of a Fault")
    parser.add_argument("--while-stdin-is-open", action="store_true", help="end with the process that started this one")
    return parser


def _wait_for_stdin(over: threading.Event) -> None:
    sys.stdin.buffer.read()
    over.set()


def main() -> None:
    """The command."""
    parser = _parser()
    args = parser.parse_args()
    hub = FakeHub(
        token=args.token,
        read_token=args.read_token,
        user=args.user,
        python=args.python,
        polls=args.polls,
        port=args.port,
    )
    try:
        for fault in args.fault:
            hub.faults.add(Fault(**json.loads(fault)))
    except (ValueError, TypeError) as error:
        parser.error(f"--fault: {error}")
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    if args.while_stdin_is_open:
        threading.Thread(target=_wait_for_stdin, args=(over,), daemon=True).start()
    try:
        with hub:
            print("\n".join(f"{name}={value}" for name, value in hub.env().items()), flush=True)
            print(f"Inference Endpoints: {hub.endpoints_url}", flush=True)
            over.wait()
    except FilterkitError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
