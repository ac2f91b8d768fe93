"""What labelling costs: `filterkit.label` beside a bare aiohttp loop and the best bare loop over each provider's SDK.

    python benchmarks/labelling.py [--articles 2000] [--latency 0.3] [--concurrency 64,256] [--rounds 3]
                                   [--labels FILE] [--memory [1000000]]

All ask `filterkit.testing.fake_llm` in a process of its own on 127.0.0.1, with every answer `--latency` seconds late.
The articles are invented, about 800 words each, or those of `--labels` over and over; a filter of 8 dimensions asks.
A bare loop is what an expert writes by hand: a pool of as many workers as may be in flight, a prebuilt configuration,
aiohttp below the SDK; it parses each answer and keeps it in memory. It has no retries, no checks and no store; ours has
them all, and a fresh store on disk. Each runs in a process of its own, in turns; the table has medians over `--rounds`.

Ideal is concurrency / latency. CPU is that of the client alone, imports not counted; memory is the highest of the whole
process. With --memory the table is another one: ours over 10,000 new articles of 80 words, answered at once, and over
so many articles of which all but 10,000 had been labelled before. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from filterkit.filters import Filter, find_filter, load_filter
from filterkit.io import read_articles
from filterkit.prompt import fence, reply_schema, sent_text, system_text
from filterkit.testing.fake_llm import FakeLLM

MODEL = "fake-1"
STORE = "fresh/store.db"
FRESH = 10_000
KINDS = {
    "aiohttp": "bare aiohttp loop",
    "gemini-bare": "google-genai, best bare loop",
    "gemini": "filterkit, oracle gemini",
    "openai-bare": "openai, best bare loop",
    "openai": "filterkit, oracle openai",
}
YARDSTICK = {"gemini": "gemini-bare", "openai": "openai-bare"}
DIMENSIONS = ("agency", "progress", "benefit", "connection", "evidence", "wonder", "dignity", "is_advert")
ANCHORS = {0: "nothing of it in the article", 5: "some of it, beside other things", 10: "the article is about it"}

# What is measured: each in a process of its own, started with --run


async def pool(n: int, articles: Iterator[Any], ask: Callable[[Any], Awaitable[str]]) -> list[dict[str, float]]:
    """`n` workers that ask about the articles and parse what they are told."""
    labels = []

    async def work() -> None:
        for article in articles:
            labels.append(json.loads(await ask(article)))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(n):
            tasks.create_task(work())
    return labels


def questions(filter: Filter, path: Path) -> Iterator[str]:
    """The users' turns, one for each article."""
    return (filter.rubric + fence(sent_text(filter.spec, article)) for article in read_articles([path]))


async def bare_aiohttp(filter: Filter, path: Path, url: str, n: int) -> int:
    """The protocol by hand."""
    import aiohttp

    body: dict[str, Any] = {
        "systemInstruction": {"parts": [{"text": system_text(filter.spec)}]},
        "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": reply_schema(filter.spec)},
    }
    connector = aiohttp.TCPConnector(limit=n)
    async with aiohttp.ClientSession(url, connector=connector, headers={"x-goog-api-key": "k"}) as session:

        async def ask(text: str) -> str:
            contents = [{"role": "user", "parts": [{"text": text}]}]
            async with session.post(f"/v1/models/{MODEL}:generateContent", json=body | {"contents": contents}) as reply:
                answer = await reply.json()
                return str(answer["candidates"][0]["content"]["parts"][0]["text"])

        return len(await pool(n, questions(filter, path), ask))


async def bare_gemini(filter: Filter, path: Path, url: str, n: int) -> int:
    """google-genai with an aiohttp session of one's own."""
    import aiohttp
    from google import genai
    from google.genai import types

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=n)) as session:
        options = types.HttpOptions(base_url=url, aiohttp_client=session)
        models = genai.Client(api_key="k", http_options=options).aio.models
        config = types.GenerateContentConfig(
            system_instruction=system_text(filter.spec),
            response_mime_type="application/json",
            response_json_schema=reply_schema(filter.spec),
            temperature=0.0,
        )

        async def ask(text: str) -> str:
            return (await models.generate_content(model=MODEL, contents=text, config=config)).text or ""

        return len(await pool(n, questions(filter, path), ask))


async def bare_openai(filter: Filter, path: Path, url: str, n: int) -> int:
    """openai with its aiohttp client."""
    import openai

    wanted: Any = {"type": "json_schema", "json_schema": {"name": "scores", "schema": reply_schema(filter.spec)}}
    system: Any = {"role": "system", "content": system_text(filter.spec)}
    async with openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key="k", max_retries=0, http_client=openai.DefaultAioHttpClient()
    ) as client:

        async def ask(text: str) -> str:
            reply = await client.chat.completions.create(
                model=MODEL,
                messages=[system, {"role": "user", "content": text}],
                response_format=wanted,
                temperature=0.0,
            )
            return reply.choices[0].message.content or ""

        return len(await pool(n, questions(filter, path), ask))


def make_oracle(kind: str, filter: Filter, folder: Path, url: str) -> Any:
    """The plugin's oracle, pointed at the server."""
    from filterkit.contracts import Context

    context = Context(folder, secret=lambda _: "k", emit=lambda *_, **__: None, stop=lambda: False)
    if kind == "gemini":
        from filterkit_gemini.oracle import GeminiOracle

        return GeminiOracle(GeminiOracle.Options(model=MODEL, base_url=url or None), filter.spec, context)
    from filterkit_openai.oracle import OpenAIOracle

    options = OpenAIOracle.Options.model_validate({"model": MODEL, "base_url": f"{url}/v1"})
    return OpenAIOracle(options, filter.spec, context)


def ours(kind: str, filter: Filter, path: Path, url: str, n: int) -> int:
    """`filterkit.label` with a store on disk, beside the articles."""
    from filterkit.pipeline.label import LabelSettings, label
    from filterkit.store import Store

    oracle = make_oracle(kind, filter, path.parent, url)
    (path.parent / "fresh").mkdir(exist_ok=True)
    with Store(path.parent / STORE) as store:
        settings = LabelSettings(concurrency=n)
        report = label(filter, read_articles([path]), oracle, store, settings, oracle_name=kind)
    return report.new


def label_before(folder: Path) -> int:
    """Put all articles but the last 10,000 into the store with labels, as an earlier run would have left them."""
    from filterkit.pipeline.label import question_of
    from filterkit.records import Label, sha256_text
    from filterkit.store import Key, Outcome, Store

    filter, done = load_filter(folder / "filter"), 0
    label = Label(dict.fromkeys(filter.spec.names, 5.0))
    question = question_of(filter, make_oracle("gemini", filter, folder, ""), "gemini")
    old = islice(read_articles([folder / "articles.jsonl"]), count(folder / "articles.jsonl") - FRESH)
    with Store(folder / STORE) as store, store.owner() as owner:
        while chunk := list(islice(old, 5_000)):
            rows = [(article, sha256_text(sent_text(filter.spec, article))) for article in chunk]
            store.put_articles(question, rows)
            states = store.claim(question, [Key(sent_hash) for _, sent_hash in rows], owner)
            store.complete(
                [Outcome(s.attempt, "labelled", label=label, model_version=MODEL) for s in states if s.attempt]
            )
            done += len(rows)
    return done


def count(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def load(kind: str) -> None:
    """Import what `kind` asks with, which is not measured."""
    modules = {
        "aiohttp": ["aiohttp"],
        "gemini-bare": ["aiohttp", "google.genai.types"],
        "gemini": ["filterkit.pipeline.label", "filterkit_gemini.oracle", "filterkit_gemini.genai_client"],
        "openai-bare": ["openai.resources.chat"],
        "openai": ["filterkit.pipeline.label", "filterkit_openai.oracle", "openai.resources.chat"],
    }
    for module in modules[kind]:
        importlib.import_module(module)


def measured(kind: str, folder: Path, url: str, n: int) -> dict[str, float]:
    """One run in this process: seconds, CPU seconds, and the highest memory of its whole life."""
    load(kind)
    filter, path = load_filter(folder / "filter"), folder / "articles.jsonl"
    bare = {"aiohttp": bare_aiohttp, "gemini-bare": bare_gemini, "openai-bare": bare_openai}
    started, cpu = time.perf_counter(), time.process_time()
    done = asyncio.run(bare[kind](filter, path, url, n)) if kind in bare else ours(kind, filter, path, url, n)
    return {
        "labels": done,
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


# What is asked about


def make_filter(folder: Path) -> None:
    """A filter of 8 dimensions with a rubric of usual length."""
    dimensions = [
        {"name": name, "description": f"how much {name} there is", "anchors": ANCHORS}
        | ({"role": "flag"} if name == "is_advert" else {"weight": 1 / 7})
        for name in DIMENSIONS
    ]
    spec = {"schema": 1, "name": "benchmark", "version": "1", "dimensions": dimensions}
    rubric = "".join(
        f"{name}: " + "; ".join(f"{at} is {what}" for at, what in ANCHORS.items()) + ".\n" for name in DIMENSIONS
    )
    (folder / "filter").mkdir()
    (folder / "filter" / "filter.yaml").write_text(json.dumps(spec))
    (folder / "filter" / "prompt.md").write_text(f"Score the article.\n\n{rubric * 4}\n{{{{article}}}}\n")


def invent(path: Path, n: int, words_each: int, texts: list[str]) -> None:
    """`n` different articles: shuffled words of `texts`."""
    words = " ".join(texts).split()
    draw = random.Random(7)  # noqa: S311 - the same articles every time
    with path.open("w", encoding="utf-8") as file:
        for i in range(n):
            body = " ".join(draw.choices(words, k=words_each))
            row = {"id": f"{i:08d}", "title": f"Article {i}", "content": body, "language": "en"}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def take(path: Path, n: int, texts: list[str]) -> None:
    """`n` different articles out of real texts, over and over."""
    with path.open("w", encoding="utf-8") as file:
        for i in range(n):
            row = {"id": f"{i:08d}", "title": f"Article {i}", "content": texts[i % len(texts)]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def texts_of(path: Path) -> list[str]:
    return [article.content for article in read_articles([path])]


# The table


def run(kind: str, folder: Path, url: str, n: int) -> dict[str, float]:
    """One run in a process of its own."""
    command = [sys.executable, __file__, "--run", kind, str(folder), url, str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    shutil.rmtree(folder / "fresh", ignore_errors=True)
    if done.returncode:
        sys.exit(f"{KINDS[kind]}: {done.stderr.strip().splitlines()[-1]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def table(args: argparse.Namespace, folder: Path, kinds: list[str]) -> None:
    """Measure, and print."""
    with FakeLLM(latency_s=args.latency, record=False, process=True) as server:
        results: dict[tuple[int, str], list[dict[str, float]]] = {}
        for _ in range(args.rounds):
            for n in args.concurrency:
                for kind in kinds:
                    server.reset()
                    result = run(kind, folder, server.url, n)
                    if result["labels"] != args.articles or server.answered != args.articles:
                        sys.exit(f"{KINDS[kind]}: {result['labels']} labels from {server.answered} answers")
                    if server.max_in_flight > n:
                        sys.exit(f"{KINDS[kind]}: {server.max_in_flight} requests in flight instead of {n}")
                    results.setdefault((n, kind), []).append(result)
    print(
        f"{args.articles:,} articles, {len(DIMENSIONS)} dimensions, a server {args.latency * 1000:.0f} ms away, ",
        end="",
    )
    print(f"medians of {args.rounds}; Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    heads = f"{'articles/s':>10} {'of ideal':>9} {'of the bare':>11} {'CPU s/1,000':>11} {'peak MB':>8}"
    print(f"{'':32} {'in flight':>9} {heads}")
    for n in args.concurrency:
        for kind in kinds:
            runs = results[n, kind]
            rate, cpu, peak = (
                statistics.median(values)
                for values in (
                    [args.articles / r["seconds"] for r in runs],
                    [r["cpu_s"] * 1000 / args.articles for r in runs],
                    [r["peak_mb"] for r in runs],
                )
            )
            ideal = f"{rate * args.latency / n:9.0%}" if args.latency else " " * 9
            share = " " * 11
            if kind in YARDSTICK:  # round by round, so that what else the machine did is in both
                pairs = zip(runs, results[n, YARDSTICK[kind]], strict=True)
                share = f"{statistics.median(bare['seconds'] / r['seconds'] for r, bare in pairs):11.0%}"
            print(f"{KINDS[kind]:32} {n:9} {rate:10,.0f} {ideal} {share} {cpu:11.2f} {peak:8.0f}")


def memory_table(n: int, folder: Path, texts: list[str]) -> None:
    """Ours over few and over many articles."""
    print("10,000 new articles of 80 words each, answered at once; gemini, 64 in flight")
    print(f"{'':32} {'articles':>9} {'seconds':>9} {'peak MB':>9}")
    for articles in (FRESH, n):
        invent(folder / "articles.jsonl", articles, 80, texts)
        (folder / "fresh").mkdir()
        if articles > FRESH:
            subprocess.run([sys.executable, __file__, "--run", "before", str(folder), "", "0"], check=True)
        with FakeLLM(record=False, process=True) as server:
            result = run("gemini", folder, server.url, 64)
        if result["labels"] != FRESH or server.answered != FRESH:
            sys.exit(f"{result['labels']} labels from {server.answered} answers")
        print(f"{KINDS['gemini']:32} {articles:9,} {result['seconds']:9.1f} {result['peak_mb']:9.0f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--articles", type=int, default=2_000, help="articles to label (default 2,000)")
    parser.add_argument("--latency", type=float, default=0.3, help="seconds until an answer (default 0.3)")
    parser.add_argument("--concurrency", default="64,256", help="requests in flight, one or several (default 64,256)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turns (default 3)")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="articles to use instead of invented ones")
    parser.add_argument("--only", help=f"some of {', '.join(KINDS)}")
    parser.add_argument(
        "--memory", type=int, nargs="?", const=1_000_000, metavar="N", help="the memory at 10,000 and at N articles"
    )
    parser.add_argument("--run", nargs=4, metavar=("KIND", "FOLDER", "URL", "N"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        kind, folder, url, n = args.run
        if kind == "before":
            label_before(Path(folder))
        else:
            print(json.dumps(measured(kind, Path(folder), url, int(n))))
        return
    args.concurrency = [int(n) for n in args.concurrency.split(",")]
    kinds = args.only.split(",") if args.only else list(KINDS)
    if args.articles < 1 or args.rounds < 1 or min(args.concurrency) < 1 or args.latency < 0:
        parser.error("all numbers are at least 1, the latency at least 0")
    if args.memory is not None and args.memory <= FRESH:
        parser.error(f"--memory compares {FRESH:,} articles with more of them")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_filter(folder)
        texts = texts_of(args.labels or find_filter("uplifting").parent / "sample" / "articles.jsonl")
        if args.memory:
            memory_table(args.memory, folder, texts)
            return
        if args.labels:
            take(folder / "articles.jsonl", args.articles, texts)
        else:
            invent(folder / "articles.jsonl", args.articles, 800, texts)
        table(args, folder, kinds)


if __name__ == "__main__":
    main()
