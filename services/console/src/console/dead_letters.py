"""Dead letters of all services, asked over their HTTP APIs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from console.services import Services, Unanswered
from console.settings import CONSUMING_SERVICES, Installation

PATH = "/v1/dead-letters"


@dataclass(frozen=True, slots=True)
class Letter:
    """A record set aside, named `<service>:<id>`."""

    name: str
    fields: dict[str, Any]


class DeadLetters:
    """Lists, shows and puts back; needs a key with the scope `operate`."""

    def __init__(self, installation: Installation) -> None:
        self._services = Services(installation)

    def find(self, service: str | None = None) -> Iterator[Letter]:
        """Oldest first, service by service."""
        for name in [service] if service else CONSUMING_SERVICES:
            after: int | None = 0
            while after is not None:
                page = self._services.ask("GET", name, f"{PATH}?after={after}&limit=1000")
                for fields in page["dead_letters"]:
                    yield Letter(f"{name}:{fields['id']}", fields)
                after = page["next_after"]

    def get(self, letter: str) -> Letter:
        """One record with headers and bytes."""
        service, number = split(letter)
        return Letter(letter, self._services.ask("GET", service, f"{PATH}/{number}"))

    def redrive(self, letters: list[str]) -> tuple[int, int]:
        """Put records back; answers how many were handled and how many still fail."""
        handled = failing = 0
        by_service: dict[str, list[int]] = {}
        for letter in letters:
            service, number = split(letter)
            by_service.setdefault(service, []).append(number)
        for service, numbers in by_service.items():
            for start in range(0, len(numbers), 1000):
                answer = self._services.ask(
                    "POST", service, f"{PATH}/redrive", json={"ids": numbers[start : start + 1000]}
                )
                handled += answer["handled"]
                failing += answer["still_failing"]
        return handled, failing


def split(letter: str) -> tuple[str, int]:
    """
    Raises:
        Unanswered: it is not written `<service>:<number>`.
    """
    service, _, number = letter.partition(":")
    if service not in CONSUMING_SERVICES or not number.isdigit():
        raise Unanswered(f"a dead letter is named like router:17, not {letter}")
    return service, int(number)
