"""Why the router decided as it did, whether it would again, and what a draft of the policy would change."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import yaml

from console.services import Services, Unanswered
from console.settings import Installation

ROUTER = "router"


class Decisions:
    """Asks the router; `explain` and `operate` are the scopes it needs."""

    def __init__(self, installation: Installation) -> None:
        self._services = Services(installation)

    def explain(self, ticket_id: str) -> Iterator[str]:
        """Each decision in words: where it went, by which clauses, what was found and what else was considered."""
        found = self._services.ask("GET", ROUTER, f"/v1/tickets/{quote(ticket_id, safe='')}/explain")
        for entry in found["decisions"]:
            yield from _decision(entry["decision"])
            yield from _words(entry["explanation"])
        if (level := found.get("undo_to")) is not None:
            yield f"the breach that raised it was withdrawn: a person may lower it to level {level}"

    def recompute(self, ticket_id: str) -> tuple[bool, str]:
        """Whether the log leads to the same decisions again, and a sentence about it."""
        found = self._services.ask("POST", ROUTER, f"/v1/tickets/{quote(ticket_id, safe='')}/recompute")
        by = f"{found['decisions']} decisions by {', '.join(found['policy_versions'])}"
        if found["same"]:
            return True, f"the same result: {by}"
        told = f"differs in {', '.join(found['differences'])}: {by}"
        here = found["classifier_here"]
        if any(version != here for version in found["classifier_versions"]):
            told += f"; decided by {', '.join(found['classifier_versions'])}, here is {here}"
        return False, told

    def try_draft(self, file: Path, last: int) -> Iterator[str]:
        """Which of the latest tickets would stand elsewhere under the policy with these changes.

        Raises:
            Unanswered: the file is no such thing, or the router refuses.
        """
        found = self._services.ask("POST", ROUTER, "/v1/drafts", json={"changes": read_draft(file), "last": last})
        yield f"{found['changed']} of {found['tickets']} tickets would stand elsewhere under {found['policy_version']}"
        for way, count in found["by_team"].items():
            yield f"  {count:6} {way}"
        for one in found["moved"]:
            yield f"  {one['ticket_id']}: {_place(one['was'])} -> {_place(one['now'])}"

    def corrections(self, days: int) -> Iterator[str]:
        """What people corrected in these days."""
        found = self._services.ask("GET", ROUTER, f"/v1/corrections?days={days}")["corrections"]
        if not found:
            yield f"nothing was corrected in {days} days"
        for one in found:
            yield (
                f"{one['classifier_version']}  {one['was_category'] or 'triage'} -> {one['category']}: "
                f"{one['corrections']} times, confidence {one['confidence']:.2f}"
            )


def read_draft(file: Path) -> Any:
    """A draft of the policy as JSON knows it.

    Raises:
        Unanswered: the file is no such thing.
    """
    try:
        return orjson.loads(orjson.dumps(yaml.safe_load(file.read_text()), option=orjson.OPT_NON_STR_KEYS))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, orjson.JSONEncodeError):
        raise Unanswered(f"{file} cannot be read as YAML") from None


def _decision(decision: dict[str, Any]) -> Iterator[str]:
    fact = decision["type"].rsplit(".", 2)[1]
    level = decision.get("level", decision.get("to_level"))
    yield f"{decision['occurred_at']}  {fact}: {decision['team']}, level {level}, by {', '.join(decision['clauses'])}"
    yield f"  is about {_topic(decision)}, confidence {decision.get('confidence', '-')}"
    for name, what in (("secondary", "also about"), ("alternatives", "considered")):
        if topics := decision.get(name):
            yield f"  {what} " + "; ".join(f"{_topic(one)} {one['confidence']}" for one in topics)
    if evidence := decision.get("evidence"):
        yield f"  evidence {', '.join(evidence)}"
    if "criterion" in decision:
        yield f"  raised by {decision['criterion']} ({decision['origin']})"
    if related := decision.get("related"):
        yield f"  one matter with {', '.join(related)}"
    for suggestion in decision.get("suggestions") or ():
        yield f"  looks like {suggestion['hint']}" + (f" of {suggestion['of']}" if suggestion.get("of") else "")


def _words(explanation: dict[str, Any] | None) -> Iterator[str]:
    if explanation is None:
        return
    for rule_id, words in explanation["rules"]:
        yield f"  words {rule_id}: {words}"
    if weighed := explanation["words"]:
        yield "  weighed " + ", ".join(f"{one['word']} {one['weight']}" for one in weighed)


def _topic(topic: dict[str, Any]) -> str:
    return f"{topic.get('category') or 'triage'}/{topic.get('subcategory') or '-'}"


def _place(placement: dict[str, Any]) -> str:
    return f"{_topic(placement)} {placement['team']} level {placement['level']}"
