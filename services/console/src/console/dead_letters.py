"""Dead letters of all services, asked over their HTTP APIs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from console.settings import CONSUMING_SERVICES, Installation

DEADLINE_SECONDS = 30.0


class Unanswered(Exception):  # noqa: N818
    """A service did not answer, or refused."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A record set aside, named `<service>:<id>`."""

    name: str
    fields: dict[str, Any]


class DeadLetters:
    """Lists, shows and puts back; needs a key with the scope `operate`."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def find(self, service: str | None = None) -> Iterator[Letter]:
        """Oldest first, service by service."""
        for name in [service] if service else CONSUMING_SERVICES:
            after: int | None = 0
            while after is not None:
                page = self._ask("GET", name, f"?after={after}&limit=1000")
                for fields in page["dead_letters"]:
                    yield Letter(f"{name}:{fields['id']}", fields)
                after = page["next_after"]

    def get(self, letter: str) -> Letter:
        """One record with headers and bytes."""
        service, number = split(letter)
        return Letter(letter, self._ask("GET", service, f"/{number}"))

    def redrive(self, letters: list[str]) -> tuple[int, int]:
        """Put records back; answers how many were handled and how many still fail."""
        handled = failing = 0
        by_service: dict[str, list[int]] = {}
        for letter in letters:
            service, number = split(letter)
            by_service.setdefault(service, []).append(number)
        for service, numbers in by_service.items():
            for start in range(0, len(numbers), 1000):
                answer = self._ask("POST", service, "/redrive", json={"ids": numbers[start : start + 1000]})
                handled += answer["handled"]
                failing += answer["still_failing"]
        return handled, failing

    def _ask(self, method: str, service: str, path: str, **options: Any) -> dict[str, Any]:
        if service not in self._installation.services:
            raise Unanswered(f"there is no address for {service}")
        with _failures_named(service), self._client(service) as client:
            answer = client.request(method, f"/v1/dead-letters{path}", **options)
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
        return found

    def _client(self, service: str) -> httpx2.Client:
        return httpx2.Client(
            base_url=self._installation.services[service],
            headers={"authorization": f"Bearer {self._installation.api_key.get_secret_value()}"},
            timeout=DEADLINE_SECONDS,
        )


def split(letter: str) -> tuple[str, int]:
    """
    Raises:
        Unanswered: it is not written `<service>:<number>`.
    """
    service, _, number = letter.partition(":")
    if service not in CONSUMING_SERVICES or not number.isdigit():
        raise Unanswered(f"a dead letter is named like router:17, not {letter}")
    return service, int(number)


@contextmanager
def _failures_named(service: str) -> Iterator[None]:
    try:
        yield
    except httpx2.HTTPStatusError as error:
        raise Unanswered(f"{service} answered {error.response.status_code}") from error
    except httpx2.HTTPError as error:
        raise Unanswered(f"{service} did not answer: {type(error).__name__}") from error
