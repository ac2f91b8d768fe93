"""The wire of scoring servers: what they take, what they refuse, and what they answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers import Workspace, unlabelled

import filterkit
from filterkit.errors import InputError
from filterkit.inference import MAX_CHARS, TooLarge, answer_rows, parse_json, read_input, read_request, write_answer
from filterkit.prompt import student_text
from filterkit.student import Student

ROWS = list(unlabelled(12))
LABELS = {"top_k": None, "function_to_apply": "none", "truncation": True}


@pytest.fixture
def student(ready: Workspace, toys: None) -> Iterator[Student]:
    loaded = filterkit.load_student(ready / "student", ready.filter)
    yield loaded
    loaded.close()


def ask(student: Student, inputs: Any, **parameters: Any) -> Any:
    request = read_request(parse_json(json.dumps({"inputs": inputs, "parameters": parameters}).encode()))
    answer = write_answer(request, answer_rows(student, request.rows))
    return json.loads(json.dumps(answer, allow_nan=False))


def test_articles_are_answered_with_verdicts(student: Student) -> None:
    answers = ask(student, ROWS)
    for answer, verdict in zip(answers, student.judge(ROWS), strict=True):
        assert answer.pop("student_hash") == student.manifest.student_hash
        assert {k: v for k, v in answer.items() if k not in ("raw", "intervals")} == json.loads(
            json.dumps(verdict.to_dict())
        )
        assert list(answer["raw"]) == ["help", "novelty", "is_advert"]
        for name, (low, high) in answer["intervals"].items():
            assert low <= answer["scores"][name] <= high
    alone = ask(student, ROWS[0])
    assert alone.pop("student_hash")
    assert alone == answers[0], "one that stands in no list is answered alone"
    assert ask(student, []) == []


def test_labels_are_uncalibrated_scores_best_first(student: Student) -> None:
    articles = [read_input(row) for row in ROWS]
    raw = student.read(articles).scores
    answers = ask(student, ROWS, **LABELS)
    assert [[one["label"] for one in sorted(a, key=lambda x: -x["score"])] for a in answers] == [
        [one["label"] for one in a] for a in answers
    ]
    found = [[{o["label"]: o["score"] for o in a}[name] for name in student.spec.names] for a in answers]
    assert np.allclose(found, raw, atol=1e-5)
    assert ask(student, ROWS[0], **LABELS) == [answers[0]], "as text-classification servers do, in a list"
    assert [len(a) for a in ask(student, ROWS[:2], top_k=1)] == [1, 1]


def test_a_text_is_what_the_student_reads(student: Student) -> None:
    text = student_text(student.spec, read_input(ROWS[3]))
    assert ask(student, text, **LABELS) == ask(student, ROWS[3], **LABELS)
    assert ask(student, text)["scores"] == ask(student, ROWS[3])["scores"]
    assert len(ask(student, "", **LABELS)[0]) == 3, "whoever reads raw scores decides what an empty text is worth"


def test_one_input_fails_alone(student: Student) -> None:
    answers = ask(student, [ROWS[0], {"title": "no content"}, "", {"content": "unscorable words"}, ROWS[1]])
    assert ["error" in a for a in answers] == [False, True, True, True, False]
    assert all(a["scores"] == {} and a["raw"] == {} for a in answers[1:4])
    assert ask(student, {"content": "unscorable words"}, **LABELS) == [[]]


def test_rows_of_several_requests_are_answered_together(student: Student) -> None:
    one = read_request({"inputs": ROWS[:3]})
    two = read_request({"inputs": ROWS[3:6], "parameters": LABELS})
    mixed = [row for pair in zip(one.rows, two.rows, strict=True) for row in pair]
    answers = answer_rows(student, mixed)
    assert answers[::2] == answer_rows(student, one.rows)
    assert answers[1::2] == answer_rows(student, two.rows)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"inputs": NaN}', "NaN"),
        (b'{"inputs": [-Infinity]}', "Infinity"),
        (b"\xff\xfe", "UTF-8"),
        (b"[" * 200_000, "nested"),
        (b"[]", '"inputs"'),
        (b'{"input": "x"}', '"inputs"'),
        (b'{"inputs": 7}', "int"),
        (b'{"inputs": [null]}', "NoneType"),
        (b'{"inputs": [["a", "b"]]}', "list"),
        (b'{"inputs": "x", "parameters": 3}', "parameters"),
        (b'{"inputs": "x", "parameters": {"topk": 3}}', "topk"),
        (b'{"inputs": "x", "parameters": {"top_k": 0}}', "top_k"),
        (b'{"inputs": "x", "parameters": {"top_k": true}}', "top_k"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, word: str) -> None:
    with pytest.raises(InputError, match=word):
        read_request(parse_json(body))


def test_too_much_is_told_from_wrong() -> None:
    with pytest.raises(TooLarge, match="1,001 inputs"):
        read_request({"inputs": ["x"] * 1001}, max_inputs=1000)
    with pytest.raises(TooLarge, match="longer"):
        read_request({"inputs": "x" * (MAX_CHARS + 1)})
    with pytest.raises(TooLarge, match="longer"):
        read_request({"inputs": {"title": "x" * MAX_CHARS, "content": "y"}})
