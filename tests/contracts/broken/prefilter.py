"""Prefilters that break a promise."""

from collections.abc import Sequence

from catching import caught_by, expose

from filterkit.records import Article, Block, Pass
from filterkit.testing import PrefilterContract
from filterkit.testing.toys import ToyPrefilter


@caught_by("test_one_answer_per_article")
class AnswersOnlyBlocks(ToyPrefilter):
    def judge(self, articles: Sequence[Article]) -> list[Pass | Block]:
        return [answer for answer in super().judge(articles) if isinstance(answer, Block)]


@caught_by("test_one_answer_per_article")
class AnswersYesAndNo(ToyPrefilter):
    def judge(self, articles: Sequence[Article]) -> list[Pass | Block]:
        return [isinstance(answer, Pass) for answer in super().judge(articles)]


@caught_by("test_no_articles")
class NeedsAnArticle(ToyPrefilter):
    def judge(self, articles: Sequence[Article]) -> list[Pass | Block]:
        assert max(len(a.content) for a in articles) >= 0
        return super().judge(articles)


@caught_by("test_a_block_says_which_rule_and_why")
class BlocksWithoutReason(ToyPrefilter):
    def judge(self, articles: Sequence[Article]) -> list[Pass | Block]:
        return [a if isinstance(a, Pass) else Block(rule="short", reason="") for a in super().judge(articles)]


@caught_by("test_the_same_answer_again")
class BlocksWhatItHasSeen(ToyPrefilter):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.seen: set[str] = set()

    def judge(self, articles: Sequence[Article]) -> list[Pass | Block]:
        answers = [Block(rule="seen", reason="again") if a.id in self.seen else Pass() for a in articles]
        self.seen.update(a.id for a in articles)
        return answers


@caught_by("test_other_articles_do_not_matter")
class BlocksTheShortestHalf(ToyPrefilter):
    def judge(self, articles: Sequence[Article]) -> list[Pass | Block]:
        middle = sorted(len(a.content) for a in articles)[len(articles) // 2] if articles else 0
        return [Pass() if len(a.content) >= middle else Block(rule="short", reason="below") for a in articles]


@caught_by("test_articles_are_left_as_they_are")
class LeavesANote(ToyPrefilter):
    def judge(self, articles: Sequence[Article]) -> list[Pass | Block]:
        for article in articles:
            article.extra["judged"] = True
        return super().judge(articles)


@caught_by("test_any_text_is_judged")
class StumblesOverSurrogates(ToyPrefilter):
    def judge(self, articles: Sequence[Article]) -> list[Pass | Block]:
        return [Pass() if a.content.encode() else Block(rule="empty", reason="empty") for a in articles]


expose(globals(), PrefilterContract)
