"""Which words: the language a customer reads, and the edition of all texts that a message is written from.

An edition is everything that words are made of: the texts of each language, what they leave open, and the layout of the HTML
part. Its version is the digest of its content. A message names edition and language when it is decided on and is written from
these, however much later it goes out and whatever was edited meanwhile (HD-67, HD-68).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from shared.policy.model import IssueText
from shared.vocabulary import Category, Criterion, Subcategory, Team

SOURCE_LANGUAGE = "en"
"""The language that every text is written in first."""
_MAX_LOCALE = 35
_BETWEEN_SUBTAGS = re.compile(r"[-_]")

Line = Annotated[str, StringConstraints(min_length=1, pattern=r"^\S.*$")]


class Fallback(StrEnum):
    """Why a message is not in the very language that its reader asked for."""

    SHORTER = "shorter"
    """In `de` for `de-AT`."""
    DEFAULT = "default"
    """In the default language, since there is no text in any that was asked for."""


@dataclass(frozen=True, slots=True)
class Wording:
    """From which texts a message is written; part of the decision."""

    edition: str
    language: str
    fallback: Fallback | None = None


class LanguageTexts(BaseModel):
    """What the texts of one language leave open (T2): who nobody knows the name of, and what is said by kind of matter.

    A kind, team or criterion without words of its own gets the general ones of the same language, never those of another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_name: Line
    agent_name: Line
    team: Line
    escalation: Line
    general: IssueText
    categories: dict[Category, IssueText] = {}
    subcategories: dict[Subcategory, IssueText] = {}
    escalation_details: dict[Criterion, Line] = {}
    teams: dict[Team, Line] = {}

    def issue(self, category: Category | None, subcategory: Subcategory | None) -> IssueText:
        """The closest text there is: the subcategory's, else the category's, else the general one."""
        of_category = self.categories.get(category, self.general) if category is not None else self.general
        return self.subcategories.get(subcategory, of_category) if subcategory is not None else of_category

    def reason(self, criterion: Criterion) -> str:
        """What a customer is told of the reason for a rise."""
        return self.escalation_details.get(criterion, self.escalation)

    def team_name(self, team: Team) -> str:
        return self.teams.get(team, self.team)


class Edition(BaseModel):
    """All that words are made of, as it stood together at one time."""

    model_config = ConfigDict(frozen=True)

    layout: str
    texts: Mapping[str, Mapping[str, str]]
    """By language, the file of each text by its name."""
    leaves_open: Mapping[str, LanguageTexts]
    """By language."""

    @cached_property
    def version(self) -> str:
        """The first 12 hex digits of the digest of all of it."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def languages(self, text: str) -> tuple[str, ...]:
        """In which languages there is this text."""
        return tuple(language for language, texts in self.texts.items() if text in texts)

    def wording(self, text: str, *, locale: str | None, default: str) -> Wording:
        """The wording for a reader with this locale: `de-AT`, else `de`, else the default language (HD-67)."""
        asked = _asked(locale)
        there = self.languages(text)
        found = _first(asked, there)
        if found is not None:
            return Wording(self.version, found, None if found == asked[0] else Fallback.SHORTER)
        language = _first((default, SOURCE_LANGUAGE), there) or SOURCE_LANGUAGE
        return Wording(self.version, language, Fallback.DEFAULT if asked else None)


def _asked(locale: str | None) -> tuple[str, ...]:
    """The languages that serve a locale, the best first (RFC 4647, lookup)."""
    subtags = _BETWEEN_SUBTAGS.split((locale or "").strip().casefold()[:_MAX_LOCALE].partition(".")[0])
    return tuple("-".join(subtags[:length]) for length in range(len(subtags), 0, -1)) if subtags != [""] else ()


def _first(wanted: Iterable[str], there: Iterable[str]) -> str | None:
    return next((language for language in wanted if language in there), None)
