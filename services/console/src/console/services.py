"""Asks the services of an installation over HTTP; what goes wrong becomes a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from console.settings import Installation

DEADLINE_SECONDS = 150.0


class Unanswered(Exception):  # noqa: N818
    """A service did not answer, or refused."""


class Services:
    """The services by name, with a key that may ask them."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def ask(self, method: str, service: str, path: str, **options: Any) -> dict[str, Any]:
        """
        Raises:
            Unanswered: there is no such service, it does not answer, or it refuses.
        """
        if service not in self._installation.services:
            raise Unanswered(f"there is no address for {service}")
        with _failures_named(service), self._client(service) as client:
            answer = client.request(method, path, **options)
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
        return found

    def _client(self, service: str) -> httpx2.Client:
        return httpx2.Client(
            base_url=self._installation.services[service],
            headers={"authorization": f"Bearer {self._installation.api_key.get_secret_value()}"},
            timeout=DEADLINE_SECONDS,
        )


@contextmanager
def _failures_named(service: str) -> Iterator[None]:
    try:
        yield
    except httpx2.HTTPStatusError as error:
        raise Unanswered(f"{service} answered {error.response.status_code}: {_told(error.response)}") from error
    except httpx2.HTTPError as error:
        raise Unanswered(f"{service} did not answer: {type(error).__name__}") from error


def _told(response: httpx2.Response) -> str:
    """What the problem document says, with the places that are wrong."""
    try:
        problem = response.json()
    except ValueError:
        return response.reason_phrase
    places = [f"{error['pointer']} {error['detail']}" for error in problem.get("errors", ())]
    return "; ".join([str(problem.get("title", response.reason_phrase)), *places])
