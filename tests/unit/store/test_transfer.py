"""Labels that were made elsewhere: what they change in a store, and what they leave alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterkit.records import Article, Label, sha256_text
from filterkit.store import Key, Outcome, Question, Store
from filterkit.store.transfer import Given, Imported, import_labels, labelled_row
from filterkit.testing import tiny_spec

SPEC = tiny_spec()
QUESTION = Question("r" * 64, "human:Eva", "", "tiny 1")


def given(article: Article, score: float = 5.0, sample: int = 0) -> Given:
    return Given(article, Label(dict.fromkeys(SPEC.names, score)), "human:Eva", "", None, sample)


def bring(store: Store, *rows: Given) -> Imported:
    return import_labels(store, SPEC, rows, lambda *_: QUESTION)


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "labels.db") as opened:
        yield opened


def test_a_label_ends_a_failure(store):
    article = Article("a", "T", "text")
    key = Key(sha256_text(article.text))
    store.put_articles(QUESTION, [(article, key.sent_hash)])
    with store.owner() as owner:
        [state] = store.claim(QUESTION, [key], owner)
        store.complete([Outcome(state.attempt, "refused", error="no", final=True)])
    assert bring(store, given(article)).new == 1
    assert list(store.failures(QUESTION.request_hash)) == []
    assert store.states(QUESTION, [key])[0].kind == "labelled"


def test_an_import_with_fewer_columns_keeps_what_is_known_of_an_article(store):
    known = Article("a", "T", "text", url="https://example.org", extra={"desk": "local"})
    store.put_articles(QUESTION, [(known, sha256_text(known.text))])
    assert bring(store, given(Article("a", "T", "text"))).edited == 0
    [row] = store.labelled(QUESTION.request_hash)
    assert row.article == known


def test_an_article_known_with_another_text_is_told_of_and_both_labels_stay(store):
    bring(store, given(Article("a", "T", "old"), 1))
    done = bring(store, given(Article("a", "T", "new"), 2))
    assert (done.new, done.edited) == (1, 1)
    assert [row.article.content for row in store.labelled(QUESTION.request_hash)] == ["new"]
    assert bring(store, given(Article("a", "T", "old"), 1)).already == 1
    assert [row.article.content for row in store.labelled(QUESTION.request_hash)] == ["old"]


def test_one_text_twice_in_a_file_is_one_label_or_a_conflict_and_samples_are_apart(store):
    article, copy = Article("a", "", "same"), Article("b", "", "same")
    done = bring(store, given(article, 1), given(copy, 1), given(copy, 2), given(article, 2, sample=1))
    assert (done.read, done.new, done.already, done.conflicts, done.conflicting) == (4, 2, 1, 1, ["b"])


def test_nothing_is_written_into_the_ledger(store):
    bring(store, *(given(Article(f"a{n}", "", f"text {n}")) for n in range(1200)))
    assert store.spent() == (0, 0, 0)
    assert store.usage(QUESTION) is None
    [count] = store.questions()
    assert (count.question, count.labels) == (QUESTION, 1200)


def test_what_an_article_says_of_labels_itself_does_not_go_out_as_one(store):
    """Unlabelled articles may carry such fields; only what the store knows of a label is one."""
    odd = Article(
        "a", "", "text", extra={"scores": {"x": 1}, "oracle": "o", "sample": 7, "model_version": "v", "desk": 1}
    )
    bring(store, given(odd))
    [row] = store.labelled(QUESTION.request_hash)
    scores = dict.fromkeys(SPEC.names, 5.0)
    own = {"id": "a", "title": "", "content": "text", "desk": 1}
    assert labelled_row(row, SPEC.names) == {**own, "scores": scores, "oracle": "human:Eva"}
