"""A spec is refused where it is wrong; and each of its fields changes exactly the fingerprints it must."""

from __future__ import annotations

import copy
import datetime
import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from filterkit.explain import explain
from filterkit.prompt import request_hash
from filterkit.spec import Choice, FilterSpec, problems

PROMPT = "Score it.\n\n{{article}}\n"


def plain(**changes: Any) -> dict[str, Any]:
    """A filter.yaml as data; `changes` replace top-level keys."""
    return {
        "schema": 1,
        "name": "news",
        "version": "1",
        "description": "what it is",
        "scale": {"min": 0, "max": 10, "step": 0.5},
        "dimensions": [
            {"name": "help", "weight": 0.75, "description": "they help", "anchors": {0: "none", 10: "all"}},
            {"name": "novelty", "weight": 0.25, "description": "it is new"},
            {"name": "is_advert", "role": "flag", "description": "it sells"},
        ],
        "prompt": "prompt.md",
        "evidence": "none",
        "generation": {"temperature": 0.0, "max_output_tokens": 2048, "seed": 1},
        "input": {
            "oracle": {"max_chars": 20000, "keep": "head"},
            "student": {"max_tokens": 512, "keep": "head"},
        },
        "prefilter": {"use": "rules", "min_chars": 100},
        "postfilter": {"use": "overall", "pass_at": 4},
        "oracle": {"use": "replay", "labels": ["a.jsonl"]},
        "trainer": {"use": "lite", "seed": 3},
        "gates": {"mae": 1.0, "median_gain": 0.05},
        **changes,
    }


def edited(path: str, value: Any) -> dict[str, Any]:
    """`plain()` with the value at a dotted path replaced; a number is an index."""
    data = copy.deepcopy(plain())
    *parents, last = path.split(".")
    inner: Any = data
    for key in parents:
        inner = inner[int(key)] if key.isdigit() else inner[key]
    inner[int(last) if last.isdigit() else last] = value
    return data


REQUEST, TARGET, POLICY = "request", "target", "policy"
CHANGES: dict[str, tuple[Any, set[str]]] = {
    "schema": (None, set()),  # only 1 is read
    "name": ("other", set()),
    "version": ("2", set()),
    "description": ("other words for people", set()),
    "scale.min": (1, {REQUEST, TARGET}),
    "scale.max": (20, {REQUEST, TARGET}),
    "scale.step": (1, {REQUEST, TARGET}),
    "dimensions.0.name": ("aid", {REQUEST, TARGET, POLICY}),
    "dimensions.0.weight": (0.7, {POLICY}),
    "dimensions.1.role": ("flag", {TARGET}),  # with its weight at 0; see below
    "dimensions.0.description": ("they help each other", {REQUEST}),
    "dimensions.0.anchors": ({0: "nothing"}, set()),  # for people: the rubric says it to the oracle
    "prompt": ("rubric.md", set()),  # its text counts, not its name
    "evidence": ("short", {REQUEST}),
    "generation.temperature": (0.5, {REQUEST}),
    "generation.max_output_tokens": (4096, {REQUEST}),
    "generation.seed": (2, {REQUEST}),
    "input.oracle.max_chars": (1000, set()),  # part of every label's key by the text that was sent
    "input.oracle.keep": ("head+tail", set()),
    "input.student.max_tokens": (256, {TARGET}),
    "input.student.keep": ("head+tail", {TARGET}),
    "prefilter.use": ("other", set()),
    "postfilter.use": ("tiers", {POLICY}),
    "oracle.use": ("gemini", set()),
    "trainer.use": ("qwen-lora", set()),
    "gates.mae": (0.9, {POLICY}),
    "gates.median_gain": (0.1, {POLICY}),
    "gates.spearman": (0.5, {POLICY}),
    "gates.top_recall": (0.5, {POLICY}),
    "gates.coverage": (0.5, {POLICY}),
    "gates.unknown_labels": (0.1, {POLICY}),
    "gates.f1": (0.5, {POLICY}),
    "threshold": (7, {POLICY}),
    "dimensions.2.threshold": (7, {POLICY}),
}
"""Field -> another value, and the fingerprints that must change with it; no others may."""


def hashes(data: dict[str, Any], prompt: str = PROMPT) -> dict[str, str]:
    """The three fingerprints of a filter."""
    spec = FilterSpec.model_validate(data)
    return {REQUEST: request_hash(spec, prompt), TARGET: spec.target_hash, POLICY: spec.policy_hash}


def changed(data: dict[str, Any], prompt: str = PROMPT, before: dict[str, Any] | None = None) -> set[str]:
    """Which fingerprints differ from those of `before`."""
    old, new = hashes(before or plain()), hashes(data, prompt)
    return {name for name in old if old[name] != new[name]}


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every field of a spec as a dotted path, without indices."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        parts = [a for a in (field.annotation, *get_args(field.annotation)) if isinstance(a, type)]
        models = [a for a in parts if issubclass(a, BaseModel)]
        if models:
            yield from leaves(models[0], f"{key}.")
        else:
            yield key


def test_the_table_knows_every_field_of_a_spec() -> None:
    in_table = {".".join(part for part in path.split(".") if not part.isdigit()) for path in CHANGES}
    assert in_table == set(leaves(FilterSpec))


@pytest.mark.parametrize("path", [p for p in CHANGES if p not in ("schema", "dimensions.1.role")])
def test_a_field_changes_its_fingerprints_and_no_others(path: str) -> None:
    value, expected = CHANGES[path]
    assert changed(edited(path, value)) == expected


def test_a_role_changes_what_a_student_answers_and_not_what_is_asked() -> None:
    before = edited("dimensions.1.weight", 0)
    after = copy.deepcopy(before)
    after["dimensions"][1]["role"] = "flag"
    assert changed(after, before=before) == CHANGES["dimensions.1.role"][1]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("prefilter", set()), ("postfilter", {POLICY}), ("oracle", set()), ("trainer", set())],
)
def test_an_option_of_a_backend_counts_as_its_backend_does(path: str, expected: set[str]) -> None:
    assert changed(edited(f"{path}.another_option", [1, {"a": 2}])) == expected


def test_the_rubric_is_part_of_the_question() -> None:
    assert changed(plain(), "Score it well.\n\n{{article}}\n") == {REQUEST}
    assert changed(plain(), "Score it.\n\n\n{{article}}") == set()


def test_the_order_of_dimensions_is_part_of_question_and_answer_but_not_of_policy() -> None:
    data = plain()
    data["dimensions"] = data["dimensions"][::-1]
    assert changed(data) == {REQUEST, TARGET}


def test_a_new_flag_changes_all_three() -> None:
    data = plain()
    data["dimensions"].append({"name": "is_obituary", "role": "flag"})
    assert changed(data) == {REQUEST, TARGET, POLICY}


def test_an_oracles_own_variant_is_part_of_the_question() -> None:
    spec = FilterSpec.model_validate(plain())
    assert request_hash(spec, PROMPT, {"thinking": "low"}) != request_hash(spec, PROMPT)
    assert request_hash(spec, PROMPT, {}) == request_hash(spec, PROMPT)


def test_how_a_value_is_written_does_not_matter() -> None:
    one, other = plain(), json.loads(json.dumps(plain()))
    other["scale"] = {"step": 0.5, "max": 10.0, "min": 0}
    other["gates"] = {"median_gain": 0.05, "mae": 1}
    assert hashes(one) == hashes(other)


def test_a_default_that_is_written_out_changes_nothing() -> None:
    short = {"schema": 1, "name": "x", "version": "1", "dimensions": [{"name": "a", "weight": 1}]}
    written = FilterSpec.model_validate(short).to_dict()
    assert hashes(written) == hashes(short)


@pytest.mark.parametrize(
    "data",
    [
        plain(),
        edited("gates", {"mae": None}),
        edited("gates", {"mae": None, "median_gain": None}),
        edited("postfilter", {"use": "tiers", "pass": None, "caps": [{"name": "x", "when": None}]}),
        edited("scale.step", None),
        {**plain(), "oracle": None, "trainer": None, "prefilter": None},
    ],
)
def test_a_spec_survives_being_written_down(data: dict[str, Any]) -> None:
    spec = FilterSpec.model_validate(data)
    again = FilterSpec.model_validate(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert (again.target_hash, again.policy_hash) == (spec.target_hash, spec.policy_hash)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": (plain(tiers=[]), "unknown key 'tiers'"),
    "unknown key below": (edited("input.oracle.max_tokens", 5), "unknown key 'input.oracle.max_tokens'"),
    "unknown key of a dimension": (edited("dimensions.0.wieght", 1), "unknown key 'dimensions.0.wieght'"),
    "unknown gate": (edited("gates.rmse", 1), "unknown key 'gates.rmse'"),
    "another schema": (plain(schema=2), "schema"),
    "no name": ({k: v for k, v in plain().items() if k != "name"}, "'name' is missing"),
    "odd name": (plain(name="Good News"), "name"),
    "name that is a path": (plain(name="../x"), "name"),
    "version that is a number": (plain(version=1), "version"),
    "version that is a path": (plain(version="1/../2"), "version"),
    "no dimensions": (plain(dimensions=[]), "dimensions"),
    "too many dimensions": (plain(dimensions=[{"name": f"d{i}"} for i in range(65)]), "dimensions"),
    "odd dimension": (edited("dimensions.0.name", "collective benefit"), "dimensions.0.name"),
    "negative weight": (edited("dimensions.0.weight", -0.1), "dimensions.0.weight"),
    "NaN weight": (edited("dimensions.0.weight", float("nan")), "dimensions.0.weight"),
    "infinite scale": (edited("scale.max", float("inf")), "scale.max"),
    "NaN gate": (edited("gates.mae", float("nan")), "gates.mae"),
    "NaN anchor": (edited("dimensions.0.anchors", {float("nan"): "x"}), "anchors"),
    "scale upside down": (edited("scale", {"min": 10, "max": 0}), r"max \(0\) must be above min \(10\)"),
    "no step": (edited("scale.step", 0), "scale.step"),
    "heavy flag": (edited("dimensions.2.weight", 0.1), "a flag has no weight"),
    "unknown role": (edited("dimensions.2.role", "tag"), "role"),
    "unknown keep": (edited("input.student.keep", "tail"), "keep"),
    "nothing is read": (edited("input.oracle.max_chars", 0), "max_chars"),
    "no backend": (plain(postfilter={"pass_at": 4}), "'postfilter.use' is missing"),
    "empty backend": (plain(oracle={"use": ""}), "oracle.use"),
    "NaN option": (edited("postfilter.pass_at", float("nan")), "finite numbers"),
    "infinite option deep down": (edited("postfilter.caps", [{"cap": float("-inf")}]), "finite numbers"),
    "option with mixed keys": (edited("postfilter.caps", {1: "a", "b": 2}), "must be text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_named(case: str) -> None:
    data, expected = REFUSED[case]
    with pytest.raises(ValidationError) as caught:
        FilterSpec.model_validate(data)
    said = [f"{'.'.join(map(str, loc))}: {what}" for loc, what in explain(caught.value)]
    assert len(said) == 1, said
    assert re.search(expected, said[0]), said[0]


def test_a_date_is_no_option() -> None:
    with pytest.raises(ValidationError, match="must be text"):
        Choice.model_validate({"use": "x", "since": datetime.date(2026, 1, 1)})


PROBLEMS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": (plain(), []),
    "weights": (edited("dimensions.0.weight", 0.8), ["the weights of the scores sum to 1.05, not to 1"]),
    "hardly": (edited("dimensions.0.weight", 0.7501), ["the weights of the scores sum to 1.0001, not to 1"]),
    "rounding": (edited("dimensions.0.weight", 0.75 + 1e-9), []),
    "no weights": (plain(dimensions=[{"name": "a"}]), ["the weights of the scores sum to 0, not to 1"]),
    "flags only": (
        plain(dimensions=[{"name": "a", "role": "flag"}]),
        ["at least one dimension must have the role score"],
    ),
    "twice": (
        plain(dimensions=[{"name": "a", "weight": 0.5}, {"name": "a", "weight": 0.5}]),
        ["two dimensions are called 'a'"],
    ),
    "anchor": (edited("dimensions.0.anchors", {11: "x"}), ["anchor 11 of 'help' lies outside of the scale"]),
    "several": (
        plain(dimensions=[{"name": "a", "weight": 0.5, "anchors": {-1: "x"}}, {"name": "a", "weight": 0.6}]),
        [
            "anchor -1 of 'a' lies outside of the scale",
            "two dimensions are called 'a'",
            "the weights of the scores sum to 1.1, not to 1",
        ],
    ),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_what_the_parts_cannot_see_alone(case: str) -> None:
    data, expected = PROBLEMS[case]
    assert [p.what for p in problems(FilterSpec.model_validate(data))] == expected


def test_eight_weights_in_hundredths_sum_to_one() -> None:
    weights = [0.14, 0.19, 0.38, 0.10, 0.08, 0.04, 0.02, 0.05]
    dimensions = [{"name": f"d{i}", "weight": w} for i, w in enumerate(weights)]
    assert problems(FilterSpec.model_validate(plain(dimensions=dimensions))) == []


def test_views_of_the_dimensions() -> None:
    spec = FilterSpec.model_validate(plain())
    assert spec.names == ("help", "novelty", "is_advert")
    assert spec.scored == (0, 1)
    assert spec.weights == (0.75, 0.25, 0.0)
