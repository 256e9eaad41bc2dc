"""A draft of the policy: changes merged into it, or another document in its place. Each service tries it on what is its own."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from shared.policy.model import Policy

Place = tuple[int | str, ...]


class UnreadableDraft(Exception):  # noqa: N818
    """The draft is no policy; `faults` are place and kind of each mistake, never what was sent."""

    def __init__(self, faults: tuple[tuple[Place, str], ...]) -> None:
        super().__init__(faults)
        self.faults = faults


def drafted(policy: str, changes: Mapping[str, Any]) -> Policy:
    """The changed policy; an object changes only what it names.

    Args:
        policy: as JSON.

    Raises:
        UnreadableDraft: it is none.
    """
    return _read(_merged(from_json(policy), changes))


def replaced(policy: str, document: Mapping[str, Any]) -> Policy:
    """The document as a policy, with the words of the policy (as JSON) if it brings none.

    Raises:
        UnreadableDraft: it is none.
    """
    return _read({"words": from_json(policy)["words"], **document})


def _read(document: Any) -> Policy:
    try:
        return Policy.model_validate(document)
    except ValidationError as invalid:
        errors = invalid.errors(include_input=False, include_url=False, include_context=False)
        raise UnreadableDraft(tuple((error["loc"], error["type"]) for error in errors)) from None


def _merged(document: Any, changes: Any) -> Any:
    """The document with the changes in it; an object changes only what it names."""
    if not isinstance(document, dict) or not isinstance(changes, Mapping):
        return changes
    return {**document, **{name: _merged(document.get(name), change) for name, change in changes.items()}}
