"""How fast requests may leave. Seconds are real; limits are wide, for machines are noisy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from filterkit.pipeline.pace import Pace


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


async def enter(pace: Pace) -> int:
    round_ = await pace.enter(0)
    assert round_ is not None
    return round_


def test_no_more_than_the_window_are_in_flight_and_all_get_through():
    async def main() -> None:
        pace = Pace(8)
        most = 0

        async def one() -> None:
            nonlocal most
            round_ = await enter(pace)
            most = max(most, pace.in_flight)
            await asyncio.sleep(0.001)
            pace.leave(round_)

        await asyncio.gather(*(one() for _ in range(200)))
        assert most == 8
        assert pace.in_flight == 0

    run(main)


def test_the_window_halves_once_a_round_and_regrows_to_where_it_began():
    async def main() -> None:
        pace = Pace(64, pause_s=0.001)
        rounds = [await enter(pace) for _ in range(64)]
        for round_ in rounds[:20]:
            pace.leave(round_, limited=True)
        assert pace.window == 32, "twenty answers of one round are one message"
        for round_ in rounds[20:]:
            pace.leave(round_)
        assert 32 < pace.window < 64
        round_ = await enter(pace)
        pace.leave(round_, limited=True)
        assert pace.window == 1, "of what was in flight, not of what would have been allowed"
        for _ in range(2000):
            pace.leave(await enter(pace))
        assert pace.window == 64

    run(main)


def test_nobody_leaves_before_the_time_that_the_provider_named():
    async def main() -> None:
        pace = Pace(8)
        first, second = await enter(pace), await enter(pace)
        pace.leave(first, limited=True, wait_s=0.3)
        pace.leave(second)
        began = time.monotonic()
        await asyncio.gather(enter(pace), pace.enter(0))
        assert 0.3 <= time.monotonic() - began < 2

    run(main)


def test_pauses_grow_where_the_provider_names_none_and_start_anew_after_an_answer():
    async def main() -> None:
        pace = Pace(8, pause_s=0.05)
        pauses = []
        for _ in range(3):
            round_ = await enter(pace)
            pace.leave(round_, limited=True)
            began = time.monotonic()
            round_ = await enter(pace)
            pauses.append(time.monotonic() - began)
            pace.leave(round_, limited=True)
        assert pauses[0] >= 0.05
        assert pauses[1] >= 0.15
        assert pauses[2] > pauses[1] > pauses[0]
        pace.leave(await enter(pace))
        pace.leave(await enter(pace), limited=True)
        began = time.monotonic()
        await enter(pace)
        assert time.monotonic() - began < pauses[1]

    run(main)


@pytest.mark.parametrize("limits", [{"requests_per_minute": 3000}, {"tokens_per_minute": 300_000}])
def test_a_limit_per_minute_is_kept(limits):
    async def main() -> None:
        pace = Pace(64, **limits)
        began = time.monotonic()
        for _ in range(100):  # 50 a second, and a second's worth at once
            round_ = await pace.enter(100)
            assert round_ is not None
            pace.leave(round_)
        assert 0.9 <= time.monotonic() - began < 5

    run(main)


def test_tokens_that_were_not_foreseen_are_waited_for_later():
    async def main() -> None:
        pace = Pace(4, tokens_per_minute=60_000)
        pace.leave(await enter(pace), tokens=1500)
        began = time.monotonic()
        await enter(pace)
        assert 0.4 <= time.monotonic() - began < 3

    run(main)


def test_who_waits_is_let_go_when_it_closes():
    async def main() -> None:
        pace = Pace(1)
        await enter(pace)
        waiting = [asyncio.create_task(pace.enter(0)) for _ in range(3)]
        await asyncio.sleep(0.01)
        pace.close()
        assert await asyncio.gather(*waiting) == [None] * 3

    run(main)


def test_the_servers_time_is_shared_by_what_is_in_flight():
    async def main() -> None:
        pace = Pace(4)
        began, shares = time.monotonic(), 0.0

        async def one(seconds: float) -> None:
            nonlocal shares
            round_, clock = await enter(pace), pace.server_s()
            await asyncio.sleep(seconds)
            shares += pace.server_s() - clock
            pace.leave(round_)

        await asyncio.gather(*(one(0.05 * n) for n in range(1, 5)))
        assert shares == pytest.approx(time.monotonic() - began, rel=0.2)

    run(main)
