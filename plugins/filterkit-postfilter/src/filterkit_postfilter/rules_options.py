"""Options of the prefilter `rules`: what a filter's author writes, checked, all of what is wrong at once."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from filterkit.api import Options
from filterkit_postfilter.rules_patterns import patterns

MOST_RULES = 1000
UNKNOWN = "unknown"
"""As a language or source: an article that names none."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]


def _as_list(given: Any) -> Any:
    """One text is a list of one."""
    return [given] if isinstance(given, str) else given


def _known_language(given: Any) -> Any:
    if given is False:
        raise ValueError('no is false in YAML; write "no" for Norwegian')
    return given


def _plain_language(code: str) -> str:
    return code.strip().lower().replace("_", "-")


def _plain_domain(domain: str) -> str:
    plain = domain.strip().lower().removeprefix("*.").strip(".")
    if not plain or any(c in plain for c in "/:@?# *"):
        raise ValueError("a domain is written like example.org, without https:// and path; its subdomains are included")
    return plain


def _checked_term(term: str, info: ValidationInfo) -> str:
    patterns(term, bool(info.data.get("case")))
    return term


Language = Annotated[str, BeforeValidator(_known_language), Field(min_length=1), AfterValidator(_plain_language)]
Domain = Annotated[str, AfterValidator(_plain_domain)]
Source = Annotated[str, Field(min_length=1, max_length=1000)]
Term = Annotated[str, AfterValidator(_checked_term)]


class Terms(Options):
    """Words and phrases, or regular expressions behind `re:`. A list alone is `of`: one of them is enough."""

    case: bool = Field(False, description="whether capitals count")
    of: tuple[Term, ...] = Field((), description="words, phrases, or regular expressions behind re:")
    at_least: int = Field(1, ge=1, description="how many different ones of `of` there must be")
    none_of: tuple[Term, ...] = Field((), description="none of these may be there")

    @model_validator(mode="before")
    @classmethod
    def _list_alone(cls, given: Any) -> Any:
        return {"of": _as_list(given)} if isinstance(given, str | list | tuple) else given

    @model_validator(mode="after")
    def _can_hold(self) -> Terms:
        if not self.of and not self.none_of:
            raise ValueError("there are no terms: name some in `of` or `none_of`")
        different = len(set(self.of))
        if self.of and self.at_least > different:
            raise ValueError(f"at_least asks for {self.at_least} of {different} terms")
        if not self.of and self.at_least > 1:
            raise ValueError("at_least counts the terms in `of`, and there are none")
        return self


class Length(Options):
    """How long the content is, without space around it."""

    at_least: int | None = Field(None, ge=0, description="holds from this many characters on")
    below: int | None = Field(None, ge=1, description="holds for fewer characters than this")

    @model_validator(mode="after")
    def _a_range(self) -> Length:
        if self.at_least is None and self.below is None:
            raise ValueError("a length has at_least, below, or both")
        if self.at_least is not None and self.below is not None and self.at_least >= self.below:
            raise ValueError(f"no length is at least {self.at_least} and below {self.below}")
        return self


class Condition(Options):
    """Holds where all that is given holds."""

    title: Terms | None = Field(None, description="terms in the title")
    content: Terms | None = Field(None, description="terms in the content")
    text: Terms | None = Field(None, description="terms in title or content")
    source: Annotated[tuple[Source, ...], BeforeValidator(_as_list)] = Field(
        (), description="one of these sources; * stands for anything, unknown for none"
    )
    domain: Annotated[tuple[Domain, ...], BeforeValidator(_as_list)] = Field(
        (), description="the article's url is in one of these domains, or in a subdomain"
    )
    language: Annotated[tuple[Language, ...], BeforeValidator(_as_list)] = Field(
        (), description="one of these languages (pt is pt-BR too); unknown: the article names none"
    )
    length: Length | None = Field(None, description="characters of the content")

    @model_validator(mode="after")
    def _says_something(self) -> Condition:
        parts = tuple(Condition.model_fields)
        if not any(getattr(self, part) for part in parts):
            raise ValueError(f"there is nothing to look at: give one of {', '.join(parts)}")
        return self


class AllowRule(Condition):
    """What holds is let through, whatever else holds."""

    name: Name = Field(description="what the rule is called")


class BlockRule(Condition):
    """What holds is held back, unless one of the exceptions holds."""

    name: Name = Field(description="how verdicts and counts call the rule")
    unless: tuple[Condition, ...] = Field(
        (), description="exceptions: the rule does not apply where one of these holds"
    )
    shadow: bool = Field(False, description="only count what the rule would hold back")


class RulesOptions(Options):
    """Options of the prefilter `rules`."""

    allow: tuple[AllowRule, ...] = Field(
        (), max_length=MOST_RULES, description="articles that are let through, whatever `block` says"
    )
    block: tuple[BlockRule, ...] = Field(
        min_length=1,
        max_length=MOST_RULES,
        description="articles that are held back; the first rule that holds is named",
    )
    shadow: bool = Field(False, description="hold nothing back, only count what would be")

    @model_validator(mode="after")
    def _names_differ(self) -> RulesOptions:
        seen: set[str] = set()
        for name in (*(rule.name for rule in self.allow), *(rule.name for rule in self.block)):
            if name in seen:
                raise ValueError(f"two rules are called {name!r}; give each its own name")
            seen.add(name)
        return self
