"""The tree of errors, as a user meets it."""

from __future__ import annotations

import pickle

import pytest

from filterkit import errors
from filterkit.errors import FilterkitError, RateLimited

ALL = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, FilterkitError)]


@pytest.mark.parametrize("error", ALL)
def test_it_says_what_where_and_what_to_do_on_one_line(error: type[FilterkitError]) -> None:
    if error is RateLimited:
        assert str(error("slow\ndown", retry_after_s=3)) == "slow down"
        return
    text = str(error("went\n  wrong.", where="file.yaml:3", fix="Do this"))
    assert text == "file.yaml:3: went wrong. Do this"
    assert str(error("went wrong")) == "went wrong"


@pytest.mark.parametrize("error", ALL)
def test_it_comes_whole_out_of_a_worker_process(error: type[FilterkitError]) -> None:
    first = error("slow", scope="day") if error is RateLimited else error("bad", where="here", fix="Mend it")
    again = pickle.loads(pickle.dumps(first))
    assert type(again) is error
    assert vars(again) == vars(first)
    assert str(again) == str(first)


def test_the_exit_codes_are_those_documented() -> None:
    codes = {c.__name__: c.exit_code for c in ALL}
    assert codes.pop("GateRefused") == 1
    assert codes.pop("StoppedEarly") == 4
    assert set(codes.values()) == {2}
