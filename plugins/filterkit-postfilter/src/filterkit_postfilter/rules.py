"""Prefilter `rules`: holds articles back by declared words, sources, domains, languages and lengths.

Matching takes time linear in the text, whatever patterns a filter package brings and whatever articles hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from filterkit.api import Article, Block, Context, FilterSpec, Pass, Prefilter, SpecError
from filterkit_postfilter.rules_find import Lexicon, Part, View, Wanted, dns_name
from filterkit_postfilter.rules_options import UNKNOWN, BlockRule, Condition, Length, RulesOptions, Terms
from filterkit_postfilter.rules_patterns import compiled, folded, literal, utf8

Test = Callable[[View], str]
"""Why a condition holds, in words; empty where it does not."""

_PARTS: dict[str, tuple[Part, ...]] = {"title": ("title",), "content": ("content",), "text": ("title", "content")}
_SHOWN = 3
"""Terms that a reason names."""
_SHOWN_CHARS = 60
LONGEST_CODE = 100
"""Characters of a language code that are looked at; real ones have some ten."""


class RulesPrefilter(Prefilter[RulesOptions]):
    """Blocks an article by the first rule of `block` that holds, unless a rule of `allow` does.

    Where no rule holds an article back but one in shadow mode would, that one is the answer, with `shadow` set.
    """

    Options = RulesOptions

    def __init__(self, options: RulesOptions, spec: FilterSpec, ctx: Context) -> None:
        super().__init__(options, spec, ctx)
        compiler = _Compiler()
        self.lexicons = compiler.lexicons
        try:
            self._allow = [compiler.condition(rule) for rule in options.allow]
            rules = [compiler.rule(rule, rule.shadow or options.shadow) for rule in options.block]
            compiler.finish()
        except ValueError as error:
            raise SpecError(str(error), where="prefilter rules", fix="Name fewer, or shorter ones") from error
        self._rules = sorted(rules, key=lambda rule: rule.shadow)  # one that blocks comes before one that only counts

    def judge(self, articles: Sequence[Article]) -> list[Pass | Block]:
        """One answer per article, in order."""
        return [self._judge(View(article)) for article in articles]

    def _judge(self, view: View) -> Pass | Block:
        for rule in self._rules:
            reason = rule.applies(view)
            if reason:
                allowed = any(_all_hold(tests, view) for tests in self._allow)
                return _PASS if allowed else Block(rule=rule.name, reason=reason, shadow=rule.shadow)
        return _PASS


_PASS = Pass()


class _Rule:
    """A rule of `block`, ready for articles."""

    def __init__(self, name: str, shadow: bool, tests: list[Test], unless: list[list[Test]]) -> None:
        self.name = name
        self.shadow = shadow
        self._tests = tests
        self._unless = unless

    def applies(self, view: View) -> str:
        reason = _all_hold(self._tests, view)
        return "" if reason and any(_all_hold(tests, view) for tests in self._unless) else reason


def _all_hold(tests: Sequence[Test], view: View) -> str:
    """Why all tests hold; empty where one does not."""
    reasons: list[str] = []
    for test in tests:
        reason = test(view)
        if not reason:
            return ""
        reasons.append(reason)
    return ", ".join(reasons)


class _Compiler:
    """Makes tests of conditions; all terms of a filter share two lexicons."""

    def __init__(self) -> None:
        self._without_case, self._with_case = Lexicon(cased=False), Lexicon(cased=True)

    @property
    def lexicons(self) -> tuple[Lexicon, Lexicon]:
        """All terms, those without case first."""
        return self._without_case, self._with_case

    def finish(self) -> None:
        """To be called once, when all rules are made. ValueError: they have too many phrases."""
        for lexicon in self.lexicons:
            lexicon.compile()

    def rule(self, rule: BlockRule, shadow: bool) -> _Rule:
        return _Rule(rule.name, shadow, self.condition(rule), [self.condition(one) for one in rule.unless])

    def condition(self, condition: Condition) -> list[Test]:
        """Tests that all have to hold, the cheapest first."""
        return list(self._tests(condition))

    def _tests(self, condition: Condition) -> Iterator[Test]:
        if condition.language:
            yield partial(_language, frozenset(condition.language))
        if condition.source:
            yield _source_test(condition.source)
        if condition.domain:
            yield partial(_domain, frozenset(map(dns_name, condition.domain)))
        if condition.length is not None:
            yield partial(_length, condition.length)
        for name, parts in _PARTS.items():
            terms: Terms | None = getattr(condition, name)
            if terms is not None:
                yield self._terms_test(name, parts, terms)

    def _terms_test(self, name: str, parts: tuple[Part, ...], terms: Terms) -> Test:
        lexicon = self._with_case if terms.case else self._without_case
        of, none_of = Wanted(lexicon, terms.of), Wanted(lexicon, terms.none_of)
        least = terms.at_least if terms.of else 0

        def test(view: View) -> str:
            found = view.found(parts, lexicon, of, least) if least else []
            if len(found) < least or (terms.none_of and view.found(parts, lexicon, none_of, 1)):
                return ""
            if not least:
                return f"{name} has none of its terms"
            shown = ", ".join(repr(lexicon.terms[i].written[:_SHOWN_CHARS]) for i in found[:_SHOWN])
            return f"{name} has {shown}" + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")

        return test


def _language(languages: frozenset[str], view: View) -> str:
    code = (view.article.language or UNKNOWN)[:LONGEST_CODE].strip().lower().replace("_", "-")
    while code not in languages:  # pt-BR, then pt
        code, dash, _ = code.rpartition("-")
        if not dash:
            return ""
    return f"language {code[:_SHOWN_CHARS]}"


def _source_test(sources: Sequence[str]) -> Test:
    """One automaton for all sources, where * stands for anything."""
    ways = ("(?s:.*)".join(literal(piece) for piece in folded(source.strip()).split("*")) for source in sources)
    pattern = compiled(f"^(?:{'|'.join(ways)})$")

    def test(view: View) -> str:
        source = (view.article.source or UNKNOWN).strip()
        return f"source {source[:_SHOWN_CHARS]}" if pattern.search(utf8(folded(source))) else ""

    return test


def _domain(domains: frozenset[str], view: View) -> str:
    domain = view.domain
    while domain:
        if domain in domains:
            return f"domain {domain[:_SHOWN_CHARS]}"
        domain = domain.partition(".")[2]
    return ""


def _length(length: Length, view: View) -> str:
    if length.at_least is not None and view.chars < length.at_least:
        return ""
    if length.below is not None and view.chars >= length.below:
        return ""
    return f"{view.chars:,} characters"
