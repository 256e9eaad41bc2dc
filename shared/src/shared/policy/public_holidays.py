"""Public holidays from a library that is kept up to date, and how far ahead it knows them (L2).

The only module that imports the library, so that the service that counts and the command that checks see the same days.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from types import MappingProxyType

import holidays

from shared.policy.model import Holidays

HORIZON = range(2000, 2061)
"""The years a calendar is compiled for. Fixed, so that the same calendar has the same name whenever it is loaded."""

_NAMES = "en_US"
"""The language of the names, where the library has it for the country; else the country's own."""
_CUT_OFF = 1 / 4
"""So many of a country's yearly holidays do not end in one year by law: there the library's tables end."""
_YEARLY = 5
_COMPLETE_UNTIL = 2025
"""What ended up to here ended by law: reforms rename many holidays at once."""
_REMARK = re.compile(r" \([^)]*\)$")


class UnknownHolidays(LookupError):  # noqa: N818 - it names what is unknown
    """Nobody knows the holidays of this country or of this part of it."""


@dataclass(frozen=True, slots=True)
class PublicHolidays:
    """Closed days with their names, observed days included."""

    days: Mapping[date, str]
    known_until: int
    """The last year for which all are known; moon calendars are tables that end."""


@cache
def public_holidays(place: Holidays, years: range = HORIZON) -> PublicHolidays:
    """The public holidays of a country or a part of it.

    Raises:
        UnknownHolidays: the library does not know the place.
    """
    try:
        with warnings.catch_warnings():  # it warns of tables that end; `known_until` says so
            warnings.simplefilter("ignore")
            known = holidays.country_holidays(place.country, subdiv=place.subdivision)
            languages = known.supported_languages
            found = holidays.country_holidays(
                place.country,
                subdiv=place.subdivision,
                years=years,
                language=_NAMES if _NAMES in languages else None,
            )
    except NotImplementedError as error:
        raise UnknownHolidays(str(error)) from None
    return PublicHolidays(MappingProxyType(dict(found)), min(_known_until(found, years), found.end_year))


def _known_until(days: Mapping[date, str], years: range) -> int:
    """The last year before many holidays that were there every year end together."""
    seen: dict[str, list[int]] = {}
    for day, text in days.items():
        for name in _names(text):
            seen.setdefault(name, []).append(day.year)
    yearly = [set(found) for found in seen.values()]
    for year in range(_COMPLETE_UNTIL, years[-1]):
        before = [found for found in yearly if found.issuperset(range(year - _YEARLY + 1, year + 1))]
        ended = sum(1 for found in before if max(found) <= year)
        if before and ended >= _CUT_OFF * len(before):
            return year
    return years[-1]


def _names(text: str) -> Iterator[str]:
    for name in text.split("; "):
        yield _REMARK.sub("", name)
