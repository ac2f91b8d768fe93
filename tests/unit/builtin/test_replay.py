from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from filterkit.builtin.replay import ReplayOracle
from filterkit.errors import ConfigError, InputError, Refused
from filterkit.options import make_backend
from filterkit.records import Article, Label, Reply
from filterkit.reply import parse_reply
from filterkit.spec import FilterSpec
from filterkit.testing import fake_context, make_request, sample_articles, sample_label, tiny_spec, write_labelled

SCORES = {"help": 7.0, "novelty": 2.5, "is_advert": 0.0}


def ask(tmp_path: Path, spec: FilterSpec, article: Article, **options: Any) -> Reply:
    async def main() -> Reply:
        oracle = make_backend("oracle", "replay", options, spec, fake_context(tmp_path))
        await oracle.open()
        reply = await oracle.complete(make_request(spec, article, model="recorded"))
        assert isinstance(reply, Reply)
        return reply

    return asyncio.run(main())


def record(path: Path, *rows: tuple[str, str, dict[str, Any]]) -> str:
    lines = [json.dumps({"id": i, "content": content, "scores": scores}) for i, content, scores in rows]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.mark.parametrize("evidence", ["none", "short"])
def test_it_answers_what_was_recorded(tmp_path: Path, evidence: str) -> None:
    spec = tiny_spec(evidence=evidence)
    article = sample_articles(1)[0]
    label = Label(SCORES, {"help": "they carried water"})
    reply = ask(tmp_path, spec, article, labels=[str(write_labelled(tmp_path / "l.jsonl", [(article, label)]))])
    read = parse_reply(spec, reply.text)
    assert read.scores == SCORES
    assert read.evidence == (
        {"help": "they carried water", "novelty": "", "is_advert": ""} if evidence == "short" else {}
    )
    assert reply.model_version == "recorded"
    assert (reply.usage.input, reply.usage.output, reply.usage.cost_usd) == (0, 0, 0.0)


def test_whole_numbers_are_answered_where_the_filter_asks_for_them(tmp_path: Path) -> None:
    spec = tiny_spec(scale={"min": 0, "max": 10, "step": 1})
    article = Article("a", "", "text")
    path = record(tmp_path / "l.jsonl", ("a", "text", {"help": 7.0, "novelty": 2, "is_advert": 0}))
    assert json.loads(ask(tmp_path, spec, article, labels=path).text) == {"help": 7, "novelty": 2, "is_advert": 0}
    assert "7.0" not in ask(tmp_path, spec, article, labels=path).text


def test_the_text_counts_not_the_id(tmp_path: Path) -> None:
    path = record(tmp_path / "l.jsonl", ("a", "the text", SCORES))
    assert ask(tmp_path, tiny_spec(), Article("another id", "", "the text"), labels=path).text
    with pytest.raises(Refused, match="no recording"):
        ask(tmp_path, tiny_spec(), Article("a", "", "the text, edited"), labels=path)


def test_recordings_come_from_several_files_and_globs(tmp_path: Path) -> None:
    record(tmp_path / "one.jsonl", ("a", "first", SCORES))
    record(tmp_path / "two.jsonl", ("b", "second", SCORES))
    for content in ("first", "second"):
        assert ask(tmp_path, tiny_spec(), Article("x", "", content), labels=[str(tmp_path / "*.jsonl")]).text


def test_a_score_that_was_not_recorded_is_refused_by_name(tmp_path: Path) -> None:
    path = record(tmp_path / "l.jsonl", ("a", "text", SCORES | {"novelty": None}))
    with pytest.raises(Refused, match="'a' has no score for novelty"):
        ask(tmp_path, tiny_spec(), Article("a", "", "text"), labels=path)


def test_two_answers_to_one_text_are_an_error_that_names_both(tmp_path: Path) -> None:
    path = record(tmp_path / "l.jsonl", ("a", "text", SCORES), ("b", "text", SCORES | {"help": 1}))
    with pytest.raises(InputError, match="'a' and 'b' are the same text with different scores") as error:
        ask(tmp_path, tiny_spec(), Article("a", "", "text"), labels=path)
    assert path in str(error.value)


def test_one_answer_recorded_twice_is_fine(tmp_path: Path) -> None:
    path = record(tmp_path / "l.jsonl", ("a", "text", SCORES), ("b", "text", SCORES))
    assert ask(tmp_path, tiny_spec(), Article("c", "", "text"), labels=[path, path]).text


def test_a_missing_file_and_one_without_scores_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jsonl"):
        ask(tmp_path, tiny_spec(), Article("a", "", "x"), labels=[str(tmp_path / "gone.jsonl")])
    path = record(tmp_path / "other.jsonl", ("a", "text", {"another filter's": 1}))
    with pytest.raises(InputError, match="no line holds scores"):
        ask(tmp_path, tiny_spec(), Article("a", "", "x"), labels=path)


def test_options_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    wrong: list[dict[str, Any]] = [{}, {"labels": []}, {"labels": ["x"], "latency_s": -1}, {"label": "x"}]
    for options in wrong:
        with pytest.raises(ConfigError):
            make_backend("oracle", "replay", options, tiny_spec(), fake_context(tmp_path))


def test_latency_is_real_and_shared_by_concurrent_questions(tmp_path: Path) -> None:
    spec, articles = tiny_spec(), sample_articles(20)
    path = write_labelled(tmp_path / "l.jsonl", [(a, sample_label(a, spec)) for a in articles])

    async def main() -> float:
        options = ReplayOracle.Options.model_validate({"labels": str(path), "latency_s": 0.2})
        oracle = ReplayOracle(options, spec, fake_context(tmp_path))  # type: ignore[arg-type]
        await oracle.open()
        start = time.monotonic()
        await asyncio.gather(*(oracle.complete(make_request(spec, a)) for a in articles))
        return time.monotonic() - start

    assert 0.2 <= asyncio.run(main()) < 2
