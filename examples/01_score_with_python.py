"""Score articles from Python: python examples/01_score_with_python.py STUDENT [ARTICLES.jsonl]

STUDENT is a student's folder, such as the one that `filterkit demo` trains: filterkit-demo/students/uplifting/v1.
"""

import json
import sys
from pathlib import Path

import filterkit

ARTICLES = [
    {
        "title": "Clinic reopens after four years",
        "content": "The valley's clinic has treated 1,900 people since March. Three nurses trained on the spot run it, "
        "and the nearest hospital, six hours away, now sends a doctor twice a week.",
    },
    {
        "title": "Bank reports a record quarter",
        "content": "The bank's shares rose four per cent after it announced higher fees and 300 job cuts.",
    },
]


def main(folder: str, file: str | None = None) -> None:
    student = filterkit.load_student(folder)
    articles = [json.loads(line) for line in Path(file).read_text().splitlines()] if file else ARTICLES

    for verdict in student.judge(articles):
        said = verdict.error or f"{verdict.overall:.2f}  {verdict.tier}"
        print(f"{said}  {verdict.article.title}")

    scores = student.score(articles)  # [n, d] float32, calibrated, before any policy
    best = scores.argmax(axis=0)
    for name, row in zip(student.spec.names, best.tolist(), strict=True):
        print(f"most {name}: {articles[row]['title']}")
    student.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
