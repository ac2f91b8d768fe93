"""docs/explanation/fingerprints.md says what each change costs; these are the changes."""

from __future__ import annotations

from typing import Any

import pytest

from filterkit.prompt import request_hash
from filterkit.spec import FilterSpec
from filterkit.testing import tiny_spec

PROMPT = "Score help and novelty.\n\n{{article}}\n"


def prints(spec: FilterSpec, prompt: str = PROMPT, **variant: Any) -> dict[str, str]:
    """The three fingerprints."""
    return {
        "request": request_hash(spec, prompt, variant),
        "target": spec.target_hash,
        "policy": spec.policy_hash,
    }


def dimensions(**changes: Any) -> list[dict[str, Any]]:
    """The dimensions of the tiny filter with the first one changed."""
    first, *rest = [d.model_dump() for d in tiny_spec().dimensions]
    return [{**first, **changes}, *rest]


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name, value in before.items() if after[name] != value}


REVERSED = [d.model_dump() for d in reversed(tiny_spec().dimensions)]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ({"dimensions": dimensions(description="another question")}, {"request"}),
        ({"evidence": "short"}, {"request"}),
        ({"generation": {"temperature": 0.5}}, {"request"}),
        ({"dimensions": dimensions(name="kindness")}, {"request", "target", "policy"}),
        ({"dimensions": REVERSED}, {"request", "target"}),
        ({"scale": {"max": 5}}, {"request", "target"}),
        ({"input": {"student": {"max_tokens": 128}}}, {"target"}),
        ({"input": {"oracle": {"max_chars": 500}}}, set()),
        ({"postfilter": {"use": "overall", "pass_at": 5}}, {"policy"}),
        ({"gates": {"mae": 0.5}}, {"policy"}),
        ({"dimensions": dimensions(anchors={0: "nobody", 10: "everybody"})}, set()),
        ({"description": "other words", "oracle": {"use": "replay"}, "trainer": {"use": "lite"}}, set()),
    ],
    ids=lambda v: ",".join(sorted(v)) or "none",
)
def test_what_a_change_costs(what: dict[str, Any], expected: set[str]) -> None:
    assert changed(prints(tiny_spec()), prints(tiny_spec(**what))) == expected


def test_weights_are_policy() -> None:
    other = [d.model_dump() for d in tiny_spec().dimensions]
    other[0]["weight"], other[1]["weight"] = 0.5, 0.5
    assert changed(prints(tiny_spec()), prints(tiny_spec(dimensions=other))) == {"policy"}


def test_a_role_is_what_a_student_answers() -> None:
    other = [d.model_dump() for d in tiny_spec().dimensions]
    other[2]["role"] = "score"
    assert changed(prints(tiny_spec()), prints(tiny_spec(dimensions=other))) == {"target"}


def test_the_rubric_and_an_oracles_own_options_are_the_question() -> None:
    assert changed(prints(tiny_spec()), prints(tiny_spec(), PROMPT.replace("Score", "Judge"))) == {"request"}
    assert changed(prints(tiny_spec()), prints(tiny_spec(), thinking="low")) == {"request"}
