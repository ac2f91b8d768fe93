"""`filterkit label --batch`: submit, leave, come back, through a provider that goes wrong."""

from __future__ import annotations

import json
import re

import pytest
from batch_bench import BATCH, LABEL, SETTINGS, Bench
from helpers import article, unlabelled, write_jsonl

from filterkit.filters import load_filter
from filterkit.store import Store


def test_it_submits_says_what_is_out_and_collects_at_half_price_when_it_comes_back(bench: Bench) -> None:
    bench.articles(25)
    first = bench.filterkit(*BATCH, "-O", "oracle.requests=10", "-O", "oracle.lag_s=3600", code=4)
    assert len(re.findall(r"^fk-[0-9a-f]{20}: submitted", first.err, re.M)) == 3
    assert "25 out in batch jobs" in first.out
    assert "3 batch jobs are out. Come back with the same command to collect what ended." in first.err
    again = bench.batch("-O", "oracle.lag_s=3600", code=4)
    assert (again["in_jobs"], again["submitted"], len(again["jobs"])) == (25, 0, 3), "nothing is submitted twice"
    done = bench.batch()
    assert (done["new"], done["read"], done["in_jobs"], done["collected"]) == (25, 25, 0, 3)
    assert done["cost_usd"] == pytest.approx(bench.charged())
    bench.settle_up(25)
    assert bench.batch()["already"] == 25
    assert bench.jobs() == []
    assert [job["state"] for job in bench.jobs("--all")] == ["done"] * 3


def test_waiting_ends_as_labelling_does(bench: Bench) -> None:
    bench.articles(40, {3: "badonce", 4: "skipped", 5: "missing", 6: "errored", 7: "blocked", 8: "badalways"})
    done = bench.batch("--wait", "-O", "oracle.lag_s=0.2", code=3)
    assert (done["new"], done["failed"], done["in_jobs"], done["left"]) == (37, 3, 0, 0)
    failures = dict(done["failures"])
    assert failures["a000007"] == "blocked by the provider"
    assert "is not valid JSON" in failures["a000008"]
    assert failures["a000006"] == "500 internal error"
    charged = dict(bench.provider.rows("SELECT handle, count(*) FROM charged GROUP BY 1"))
    assert list(charged.values()) == [36 + 1, 3 + 2 + 0, 2, 2], "only what had no label was asked again, four times"
    assert bench.batch(code=3)["failed_before"] == 3


def test_what_was_wrong_with_an_answer_is_said_in_the_next_job(bench: Bench) -> None:
    bench.articles(3, {1: "badonce"})
    bench.batch("--wait")
    [first, second] = [json.loads(row) for (row,) in bench.provider.rows("SELECT requests FROM jobs ORDER BY created")]
    assert [one["correction"] for one in first] == ["", "", ""]
    assert "not valid JSON" in second[0]["correction"]


def test_answers_that_cannot_be_had_are_not_asked_and_paid_for_again(bench: Bench) -> None:
    bench.articles(5)
    bench.batch(code=4)
    bench.provider.set(withheld=True)
    for _ in range(2):
        said = bench.batch(code=4)
        assert "what it brought cannot be had (404: there is no such file)" in said["error"]
        assert (said["in_jobs"], said["submitted"]) == (5, 0)
    bench.provider.set()
    assert bench.batch()["new"] == 5
    bench.settle_up(5)


def test_failed_articles_are_asked_again_when_that_is_wanted(bench: Bench) -> None:
    bench.articles(5, {1: "blocked"})
    bench.batch(code=4)
    assert bench.batch(code=3)["failed"] == 1
    assert bench.batch(code=3)["submitted"] == 0
    out = bench.filterkit(*BATCH, "--retry-failed", code=4)
    assert "without --retry-failed" in out.err
    assert bench.batch(code=3)["failed"] == 1


def test_several_answers_and_a_limit(bench: Bench) -> None:
    bench.articles(12)
    report = bench.batch("--samples", 3, "--limit", 5, "--wait")
    assert (report["read"], report["new"]) == (15, 15)
    with Store(bench.root / "labels.db") as store:
        rows = list(store.labelled(load_filter(bench.root / "tiny/v1").request_hash()))
    assert sorted(row.sample for row in rows) == [0] * 5 + [1] * 5 + [2] * 5


def test_the_same_text_is_asked_once(bench: Bench) -> None:
    rows = [dict(row) for row in unlabelled(6)]
    write_jsonl(bench.root / "in.jsonl", [*rows, *({**row, "id": f"copy{n}"} for n, row in enumerate(rows))])
    assert bench.batch(code=4)["in_jobs"] == 12
    report = bench.batch()
    assert (report["new"], report["duplicates"]) == (6, 6)
    assert len(bench.provider.rows("SELECT * FROM charged")) == 6


def test_a_live_labeller_counts_what_is_out_and_does_not_wait(bench: Bench) -> None:
    bench.articles(10)
    bench.batch("--limit", 6, code=4)
    live = bench.filterkit(*LABEL, "--json", code=4)
    report = json.loads(live.out)
    assert (report["new"], report["in_jobs"], report["attempts"]) == (4, 6, 4)
    dry = json.loads(bench.filterkit(*LABEL, "--dry-run", "--json").out)
    assert (dry["already"], dry["in_jobs"], dry["to_ask"]) == (4, 6, 0)
    assert bench.batch()["new"] == 6
    bench.settle_up(10)


def test_a_dry_run_says_half_the_price(bench: Bench) -> None:
    bench.articles(30)
    live = json.loads(bench.filterkit(*LABEL, "--dry-run", "--json").out)
    batch = bench.batch("--dry-run")
    assert batch["usd"] == pytest.approx(live["usd"] / 2)
    assert batch["most_usd"] == pytest.approx(live["most_usd"] / 2)
    assert "in batch jobs, at 50% of the live price" in bench.filterkit(*BATCH, "--dry-run").out
    assert not (bench.root / "labels.db").exists()


def test_the_budget_is_kept_and_spent_job_by_job(bench: Bench) -> None:
    bench.articles(40)
    with (bench.root / "tiny/v1/filter.yaml").open("a") as file:
        file.write("generation: {max_output_tokens: 128}\n")
    most = 10 * (165 + 4 * 128) / 2e6  # ten at their reserve, about
    first = bench.batch("--max-cost", most, code=4)
    assert 8 <= first["in_jobs"] <= 11
    assert first["in_jobs"] + first["left"] == 40
    line = bench.refused(*BATCH, "--wait", "--max-cost", most, code=4, says="is used up")
    assert "Give a higher --max-cost" in line
    assert 0.5 * most < bench.charged() <= most, "what is saved on one job pays for the next"
    assert bench.batch("--wait", "--max-cost", 1)["failed"] == 0
    bench.settle_up(40)


def test_a_submit_whose_reply_was_lost_is_found_again(bench: Bench) -> None:
    bench.articles(20)
    bench.provider.set(lose_reply=1)
    said = bench.filterkit(*BATCH, code=4)
    assert "was submitted before; found again, 20 requests" in said.err
    assert bench.batch()["new"] == 20
    bench.settle_up(20)


def test_a_job_that_is_listed_late_is_not_submitted_twice(bench: Bench) -> None:
    bench.articles(20)
    (bench.root / "filterkit.yaml").write_text(SETTINGS.replace("0.1", "1.5"))
    bench.provider.set(lose_reply=1, hide=0.5)
    assert len(bench.batch(code=4)["jobs"]) == 1
    bench.provider.set()
    bench.batch()
    bench.settle_up(20)


def test_a_submit_that_never_arrived_is_made_again(bench: Bench) -> None:
    bench.articles(20)
    bench.provider.set(vanish=1, refuse=2, unreachable=1)
    (bench.root / "filterkit.yaml").write_text(SETTINGS)
    assert "was never submitted; its 20 questions can be asked again" in bench.filterkit(*BATCH, code=4).err
    bench.batch()
    bench.settle_up(20)
    assert [job["state"] for job in bench.jobs("--all")] == ["unsent", "done"]


def test_a_provider_that_swallows_every_job_gets_three_and_charges_nothing(bench: Bench) -> None:
    bench.articles(5)
    bench.provider.set(vanish=9)
    bench.refused(*BATCH, "--wait", code=4, says="3 batch jobs in a row did not arrive")
    bench.provider.set()
    bench.batch("--wait")
    bench.settle_up(5)


def test_another_model_leaves_its_answers_to_be_collected_when_the_user_accepts_it(bench: Bench) -> None:
    bench.articles(10)
    bench.batch(code=4)
    bench.provider.set(model="other-2")
    bench.refused(*BATCH, code=2, says=["asked model-1, and 'other-2' replied", "oracle.aliases"])
    assert len(bench.jobs()) == 1
    assert bench.batch("-O", 'oracle.aliases=["other-2"]')["versions"] == {"other-2": 10}
    assert len(bench.provider.rows("SELECT * FROM charged")) == 10


def test_keys_that_repeat_or_that_nobody_sent_change_nothing(bench: Bench) -> None:
    bench.articles(20)
    bench.provider.set(again=True, strangers=True)
    bench.batch("--wait")
    bench.settle_up(20)


def test_an_expired_job_brings_what_it_has_and_the_rest_is_asked_again(bench: Bench) -> None:
    bench.articles(20)
    bench.batch(code=4)
    bench.provider.set(share=0.5)
    part = bench.batch(code=4)
    assert (part["new"], part["in_jobs"]) == (10, 10)
    bench.provider.set()
    bench.batch()
    bench.settle_up(20)


def test_a_provider_that_runs_nothing_is_not_asked_for_ever(bench: Bench) -> None:
    bench.articles(5)
    bench.provider.set(share=0.0)
    bench.refused(*BATCH, "--wait", code=4, says="ended without an answer to any of its 5 requests")
    assert len(bench.provider.rows("SELECT * FROM jobs")) == 1


def test_a_quota_of_the_day_costs_nothing_and_ends_it(bench: Bench) -> None:
    bench.articles(10)
    bench.batch("--limit", 4, code=4)
    bench.provider.set(day=True)
    bench.refused(*BATCH, code=4, says="the quota of the day is used up")
    assert bench.batch("--dry-run")["spent_usd"] == pytest.approx(bench.charged()), "the first job was collected"
    bench.provider.set()
    bench.batch("--wait")
    bench.settle_up(10)


def test_an_oracle_that_fails_by_its_own_mistake_submits_nothing_twice(bench: Bench) -> None:
    bench.articles(10)
    bench.provider.set(bug=1)
    bench.refused(*BATCH, code=2, says=["oracle toy-batch", "TypeError"])
    assert "found again" in bench.filterkit(*BATCH).err
    bench.settle_up(10)


def test_a_provider_that_takes_few_jobs_gets_the_rest_later(bench: Bench) -> None:
    bench.articles(30)
    bench.provider.set(limit=1)
    first = bench.batch("-O", "oracle.requests=10", "-O", "oracle.lag_s=3600", code=4)
    assert (first["submitted"], first["in_jobs"], first["left"]) == (1, 10, 20)
    done = bench.batch("-O", "oracle.requests=10", "-O", "oracle.lag_s=0.05", "--wait")
    assert done["new"] == 30
    bench.settle_up(30)


def test_polling_goes_on_through_troubles(bench: Bench) -> None:
    bench.articles(5)
    bench.provider.set(down=2)
    assert bench.batch("--wait")["new"] == 5


def test_an_oracle_without_batches_is_named_with_those_that_have_them(bench: Bench) -> None:
    write_jsonl(bench.root / "in.jsonl", [article(1)])
    command = ["label", "tiny/v1", "--articles", "in.jsonl", "--oracle", "replay", "-O", "labels=in.jsonl", "--batch"]
    bench.refused(*command, code=2, says=["oracle replay: answers no batches", "toy-batch"])
    bench.refused(*command, "--dry-run", code=2, says="answers no batches")
    assert "--wait is about --batch" in bench.filterkit(*LABEL, "--wait", code=2).err
    assert "--pilot" in bench.filterkit(*BATCH, "--pilot", code=2).err
