"""Other weights, another floor: no new label, no new training. python examples/04_bring_a_policy_change.py STUDENT

STUDENT is a student of the filter `uplifting`, such as the one that `filterkit demo` trains.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import filterkit
from filterkit.io import read_articles


def main(folder: str) -> None:
    before = filterkit.load_filter("uplifting")

    # A copy of the filter with a stricter policy: a cap at 2 instead of 3, and a tier that begins at 8.
    changed = Path(tempfile.mkdtemp()) / "v1"
    shutil.copytree(before.path, changed, ignore=shutil.ignore_patterns("model"))
    text = (changed / "filter.yaml").read_text()
    for old, new in (("cap: 3", "cap: 2"), ("{name: impact, at_least: 7}", "{name: impact, at_least: 8}")):
        assert old in text
        text = text.replace(old, new)
    (changed / "filter.yaml").write_text(text)
    after = filterkit.load_filter(changed)

    # The question and the answer's shape are the same, so labels and student stay; only the policy is another.
    assert after.request_hash() == before.request_hash()
    assert after.spec.target_hash == before.spec.target_hash
    assert after.spec.policy_hash != before.spec.policy_hash

    articles = list(read_articles([before.path.parent / "sample" / "fresh.jsonl"]))
    old, new = (filterkit.load_student(folder, filter) for filter in (before, after))
    for was, now in zip(old.judge(articles), new.judge(articles), strict=True):
        assert was.scores == now.scores
        print(f"{was.overall:5.2f} {was.tier!s:<14} → {now.overall:5.2f} {now.tier!s:<14} {was.article.title}")
    print("`filterkit deploy` would refuse this policy until `filterkit validate` has seen it.")


if __name__ == "__main__":
    main(*sys.argv[1:])
