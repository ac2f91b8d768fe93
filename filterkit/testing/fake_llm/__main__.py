"""`python -m filterkit.testing.fake_llm`: serves until Ctrl-C, and says where."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from typing import Any

from filterkit.errors import FilterkitError
from filterkit.testing.fake_llm.faults import BATCH_FAULTS, FAULTS, Settings
from filterkit.testing.fake_llm.server import Desk, listen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m filterkit.testing.fake_llm",
        description="A fake LLM provider on 127.0.0.1 that speaks the protocols of Gemini, OpenAI and Anthropic.",
        epilog=f"Faults:\n{_table(FAULTS)}\n\nFaults of batches:\n{_table(BATCH_FAULTS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=8080, help="0 for a free one (default 8080)")
    parser.add_argument("--latency", type=float, metavar="SECONDS", help="seconds until an answer")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE", help="a fault's probability")
    parser.add_argument("--always", action="append", default=[], metavar="TEXT=NAME", help="for articles with a text")
    parser.add_argument("--script", metavar="NAME,NAME", help="of the first requests in order; ok for none")
    parser.add_argument("--rpm", type=int, help="requests a minute at most")
    parser.add_argument("--rpd", type=int, help="requests a day at most")
    parser.add_argument("--retry-after", type=float, metavar="SECONDS", help="the wait that a 429 asks for (default 1)")
    parser.add_argument("--model", action="append", help="a model that exists (default: all do)")
    parser.add_argument("--model-version", metavar="NAME", help="the model that says to have replied")
    parser.add_argument("--api-key", metavar="KEY", help="the only valid key (default: any)")
    parser.add_argument(
        "--local", action="store_const", const=False, help="take what a local server takes and OpenAI itself refuses"
    )
    parser.add_argument("--structured", metavar="KIND,KIND", help="of json_schema, json_object, none (default: all)")
    parser.add_argument("--seed", type=int, help="of the faults' random numbers")
    parser.add_argument("--batch-lag", type=float, metavar="SECONDS", help="until a batch ends (default 0.1)")
    parser.add_argument("--batch-fault", action="append", default=[], metavar="NAME=SHARE", help="its probability")
    parser.add_argument("--batch-script", metavar="NAME,NAME", help="of the first steps of batches; ok for one job")
    parser.add_argument("--record", action="store_true", help="keep all requests for GET /_fake/exchanges")
    parser.add_argument("--settings", default="{}", metavar="JSON", help="the arguments of FakeLLM as JSON")
    parser.add_argument("--while-stdin-is-open", action="store_true", help="end with the process that started this one")
    return parser


def _table(faults: Mapping[str, str]) -> str:
    return "\n".join(f"  {name:14} {what}" for name, what in faults.items())


def _settings(args: argparse.Namespace) -> Settings:
    values: dict[str, Any] = {"record": args.record, **json.loads(args.settings)}
    named = {
        "latency_s": args.latency,
        "faults": {name: float(share) for name, share in map(_pair, args.fault)},
        "always": dict(map(_pair, args.always)),
        "script": args.script and args.script.split(","),
        "requests_per_minute": args.rpm,
        "requests_per_day": args.rpd,
        "retry_after_s": args.retry_after,
        "models": args.model,
        "model_version": args.model_version,
        "api_key": args.api_key,
        "openai_own": args.local,
        "structured": args.structured and args.structured.split(","),
        "seed": args.seed,
        "batch_lag_s": args.batch_lag,
        "batch_faults": {name: float(share) for name, share in map(_pair, args.batch_fault)},
        "batch_script": args.batch_script and args.batch_script.split(","),
    }
    return Settings.of(values | {name: value for name, value in named.items() if value not in (None, {})})


def _pair(text: str) -> tuple[str, str]:
    left, equals, right = text.rpartition("=")
    if not equals:
        raise ValueError(f"{text!r} is not of the form A=B")
    return left, right


async def _serve(settings: Settings, port: int, while_stdin: bool) -> None:
    runner, port = await listen(Desk(settings), port)
    print(f"Gemini base URL: http://127.0.0.1:{port}", flush=True)
    print(f"OpenAI base URL: http://127.0.0.1:{port}/v1", flush=True)
    print(f"Anthropic base URL: http://127.0.0.1:{port}", flush=True)
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    if while_stdin:
        loop.add_reader(sys.stdin.fileno(), over.set)
    await over.wait()
    await runner.cleanup()


def main() -> None:
    """The command."""
    parser = _parser()
    args = parser.parse_args()
    try:
        settings = _settings(args)
    except (FilterkitError, ValueError) as error:
        parser.error(str(error))
    try:
        asyncio.run(_serve(settings, args.port, args.while_stdin_is_open))
    except OSError as error:
        sys.exit(f"cannot serve on port {args.port}: {error.strerror}")


if __name__ == "__main__":
    main()
