"""HTTP calls to places that somebody configured, and never into our own network.

A name is resolved once, every address that it has is checked, and the connection goes to one of those: what a name server
says a moment later changes nothing. Redirects are answers like any other. Hosts that are trusted by setting may stand in a
private network, speak plain HTTP and listen on any port.
"""

import asyncio
import socket
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

import httpcore2

from notifier.domain.urls import may_be_called
from shared.runtime.now import Now

MOST_READ = 64 * 1024
"""How much of an answer is read, in bytes."""
LONGEST_WAIT = timedelta(days=1)
"""What a server asks for beyond this is not believed."""
CONNECT_SECONDS = 2.0
"""How long an address is tried that is not a name's last: one that answers nobody does not take the time of the others."""
_TRANSLATED = IPv6Network("64:ff9b::/96")
_UNICAST = IPv6Network("2000::/3")
"""Where the wide world is; what stands beside it is local, or an IPv4 address in other clothes."""

Header = tuple[bytes, bytes]


class ForbiddenTarget(Exception):  # noqa: N818 - it names the target, not the failure
    """The address stands in a private network, or the URL is not one to be called."""


class Unanswered(Exception):  # noqa: N818
    """No answer came. `was_sent`: whether the other side may have the request all the same."""

    def __init__(self, *, was_sent: bool) -> None:
        super().__init__()
        self.was_sent = was_sent


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side said, as far as it was read."""

    status: int
    body: bytes
    retry_after: timedelta | None


class GuardedHttp:
    """Posts to the outside.

    Args:
        trusted_hosts: names and addresses that may be private, and called without TLS.
        connections: how many are used at once, for all destinations together.
    """

    def __init__(self, now: Now, *, trusted_hosts: Collection[str] = (), connections: int = 100) -> None:
        self._now = now
        self._trusted = frozenset(trusted_hosts)
        self._pool = httpcore2.AsyncConnectionPool(
            network_backend=_GuardedBackend(self._trusted), max_connections=connections, keepalive_expiry=30
        )

    async def post(self, url: str, content: bytes, headers: Iterable[Header], *, within: timedelta) -> Answer:
        """The answer to one POST, whatever its status.

        Raises:
            ForbiddenTarget: nothing was sent.
            Unanswered: nothing came back in time.
        """
        if not may_be_called(url, self._trusted):
            raise ForbiddenTarget
        under_way = _Progress()
        try:
            async with (
                asyncio.timeout(within.total_seconds()),
                self._pool.stream(
                    "POST",
                    url,
                    headers=[*headers, *_always(urlsplit(url).netloc)],
                    content=content,
                    extensions=under_way.traced,
                ) as response,
            ):
                return Answer(response.status, await _beginning(response), self._retry_after(response.headers))
        except TimeoutError:
            raise Unanswered(was_sent=under_way.was_sent) from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError):
            raise Unanswered(was_sent=under_way.was_sent) from None
        except ValueError:  # a port or a name that there cannot be
            raise ForbiddenTarget from None

    async def close(self) -> None:
        await self._pool.aclose()

    def _retry_after(self, headers: Iterable[Header]) -> timedelta | None:
        """What `Retry-After` says, in seconds or as a date; nonsense says nothing."""
        said = next((value.decode("latin-1").strip() for name, value in headers if name.lower() == b"retry-after"), "")
        try:
            wait = timedelta(seconds=int(said)) if said.isdecimal() else parsedate_to_datetime(said) - self._now()
        except (ValueError, TypeError, OverflowError):
            return None
        return min(max(wait, timedelta(0)), LONGEST_WAIT)


class _Progress:
    """Whether the first byte of the request has left: from there on nobody knows without an answer."""

    def __init__(self) -> None:
        self.was_sent = False
        self.traced = {"trace": self._on_event}

    async def _on_event(self, event: str, _details: object) -> None:
        if event == "http11.send_request_headers.started":
            self.was_sent = True


class _GuardedBackend(httpcore2.AnyIOBackend):
    """Connects to public addresses only, and to the very one that was checked."""

    def __init__(self, trusted: frozenset[str]) -> None:
        super().__init__()
        self._trusted = trusted

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(sockaddr[0]) for *_, sockaddr in found]
        if host not in self._trusted and not all(is_public(one) for one in addresses):
            raise ForbiddenTarget
        for address in addresses[:-1]:
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await super().connect_tcp(address, port, CONNECT_SECONDS, local_address, socket_options)
        return await super().connect_tcp(addresses[-1], port, timeout, local_address, socket_options)


def is_public(address: str) -> bool:
    """Whether the address is one of the wide world, also where another one is wrapped in it."""
    known = ip_address(address.partition("%")[0])
    if isinstance(known, IPv6Address):
        inner = _inner(known)
        if (known not in _UNICAST and known not in _TRANSLATED) or (inner is not None and not is_public(str(inner))):
            return False
    return known.is_global and not known.is_multicast


def _inner(address: IPv6Address) -> IPv4Address | None:
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour or (address.teredo[1] if address.teredo else None)


def _always(netloc: str) -> tuple[Header, ...]:
    return (
        (b"host", netloc.rpartition("@")[2].encode()),
        (b"content-type", b"application/json"),
        (b"user-agent", b"storytailor-support"),
    )


async def _beginning(response: httpcore2.Response) -> bytes:
    read = bytearray()
    async for chunk in response.aiter_stream():
        read += chunk[: MOST_READ - len(read)]
        if len(read) >= MOST_READ:
            break
    return bytes(read)
