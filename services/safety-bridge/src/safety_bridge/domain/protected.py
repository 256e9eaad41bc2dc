"""What of an agent's event may be used in the open, what is kept sealed, and what should not have been said at all (S5).

An event is looked at field by field against the list of those that the agent may send. A field that is not on the list, or whose
value is not what the list says, never stops a signal; it is set apart, and the producer is told its place, never its value.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from safety_bridge.domain.identity import fit_name
from safety_bridge.domain.signal import instant_of
from shared.vocabulary import IncidentClass, Response, Severity

PLACES_TOLD = 50
"""So many places of one event are named; a producer that errs oftener errs everywhere."""

Fits = Callable[[Any], bool]

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@+/-]{0,63}")
_SPLIT = re.compile(r"_|(?<=[a-z])(?=[A-Z])")


def _one_of(*words: str) -> Fits:
    return lambda value: isinstance(value, str) and value.strip().casefold() in words


def _id(value: Any) -> bool:
    return fit_name(value) is not None


def _code(value: Any) -> bool:
    return isinstance(value, str) and "@" not in value and _CODE.fullmatch(value) is not None


def _instant(value: Any) -> bool:
    return instant_of(value) is not None


def _number(value: Any) -> bool:
    return isinstance(value, int) and abs(value) < 2**53


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Field:
    """What a field has to be. `is_protected`: fit or not, it is only kept sealed. `is_many`: one of them or a list."""

    fits: Fits
    is_protected: bool = False
    is_many: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """An object with fields of its own."""

    fields: Mapping[str, Field]


def _protected(fits: Fits, *, is_many: bool = False) -> Field:
    return Field(fits, is_protected=True, is_many=is_many)


FIELDS: Mapping[str, Field | Group] = MappingProxyType(
    {
        "event_id": Field(_id),
        "event_type": Field(_code),
        "source": Field(_id),
        "schema_version": Field(lambda value: _number(value) or _code(value)),
        "revision": Field(_number),
        "sequence": Field(_number),
        "published_at": Field(_instant),
        "trace_id": Field(_id),
        "locale": Field(_code),
        "agent_incident_id": Field(_id),
        "ticket_ref": Field(_id),
        "ticket_id": Field(_id),
        "mode": Field(_one_of("live", "drill")),
        "environment": Field(_code),
        "severity": Field(_one_of(*(one.word for one in Severity))),
        "class": Field(_one_of(*IncidentClass)),
        "responses": Field(_one_of(*Response), is_many=True),
        "detected_at": Field(_instant),
        "triggered_at": Field(_instant),
        "guardian_contact": Field(_one_of("allowed", "prohibited", "unknown")),
        "guardian_reason_code": Field(_code),
        "reason_code": Field(_code),
        "subcategory": Field(_code),
        "evidence": Field(_code, is_many=True),
        "report": Group(
            {
                "required": Field(_truth),
                "state": Field(_code),
                "attempt": Field(_number),
                "failure_code": Field(_code),
                "generated_at": Field(_instant),
                "submitted_at": Field(_instant),
                "accepted_at": Field(_instant),
                "report_id": _protected(_id),
                "authority_code": _protected(_code),
                "jurisdiction": _protected(_code),
                "receipt_ref": _protected(_id),
                "prior_report_refs": _protected(_id, is_many=True),
            }
        ),
        "intervention": Group(
            {"state": Field(_code), "provider_code": _protected(_code), "confirmed_at": Field(_instant)}
        ),
        "preserve": Group({"required": Field(_truth), "until": Field(_instant), "basis_code": Field(_code)}),
        "decision": Group(
            {
                "rule_ids": _protected(_code, is_many=True),
                "model_version": _protected(_code),
                "confidence_band": _protected(_code),
            }
        ),
        "subject_ref": _protected(_id),
        "account_ref": _protected(_id),
        "session_ref": _protected(_id),
        "story_ref": _protected(_id),
        "region": _protected(_code),
        "category_codes": _protected(_code, is_many=True),
        "evidence_refs": _protected(_id, is_many=True),
    }
)
"""The fields of an agent's event; `None` anywhere means that nothing is said."""

_TELLABLE = re.compile(
    "account|address|age|audio|birth|body|child|city|class|comment|contact|content|context|data|date"
    "|description|details|device|email|extra|father|first|free|full|gps|grade|guardian|handle|home|id|image|ip"
    "|last|latitude|link|location|longitude|mail|medium|message|meta|metadata|mother|name|nick|nickname|note"
    "|notes|number|parent|payload|person|phone|photo|picture|postal|quote|raw|ref|reporter|school|story|street"
    "|summary|suspect|text|transcript|url|user|username|video|voice|voiceprint|zip"
)
"""Words of which the name of an unknown field may consist to be told to its producer: a name can hold a child's words too."""


@dataclass(frozen=True, slots=True)
class Apart:
    """What is taken out of an event's data. `places` are JSON pointers of what should not have been there."""

    protected: Mapping[str, Any]
    quarantined: Mapping[str, Any]
    places: tuple[str, ...]


def set_apart(data: Mapping[str, Any]) -> Apart:
    """The protected values of an event, and those that are unknown or unfit, each by its place."""
    protected: dict[str, Any] = {}
    quarantined: dict[str, Any] = {}
    places: dict[str, None] = {}
    for name, value in data.items():
        for place, told, is_fit, found in _parts("", name, value, FIELDS):
            if is_fit:
                protected[place] = found
            else:
                quarantined[place] = found
                places[told] = None
    return Apart(protected, quarantined, tuple(places)[:PLACES_TOLD])


def preserved_until(data: Mapping[str, Any]) -> datetime | None:
    """Until when the agent asks to keep all of it."""
    preserve = data.get("preserve")
    return instant_of(preserve.get("until")) if isinstance(preserve, Mapping) else None


def _parts(
    above: str, name: str, value: Any, known: Mapping[str, Field | Group]
) -> Iterator[tuple[str, str, bool, Any]]:
    """Place, place as it may be told, whether it is fit, and value of what is not used in the open."""
    place = f"{above}/{name}"
    match known.get(name):
        case _ if value is None:
            return
        case None:
            yield place, f"{above}/{_tellable(name)}", False, value
        case Group(fields) if isinstance(value, Mapping):
            for inner, one in value.items():
                yield from _parts(place, inner, one, fields)
        case Field(fits, is_protected, is_many):
            many = enumerate(value) if is_many and isinstance(value, list | tuple) else [(None, value)]
            for number, one in many:
                at = place if number is None else f"{place}/{number}"
                if not fits(one):
                    yield at, at, False, one
                elif is_protected:
                    yield at, at, True, one
        case _:
            yield place, place, False, value


def _tellable(name: str) -> str:
    return name if all(_TELLABLE.fullmatch(word.lower()) for word in _SPLIT.split(name)) else "*"
