"""Which URLs may be called at all; whether what answers there stands in a private network is seen when it is called."""

from collections.abc import Collection
from urllib.parse import urlsplit

PORTS = frozenset({None, 443, 8443})
"""Where webhooks are taken: what listens elsewhere is something else."""


def may_be_called(url: str, trusted_hosts: Collection[str]) -> bool:
    """By https at a usual port; a host that is trusted by setting also without TLS and at any port."""
    try:
        parts = urlsplit(url)
        is_usual = parts.scheme == "https" and parts.port in PORTS
    except ValueError:
        return False
    return is_usual or (parts.scheme in ("http", "https") and parts.hostname in trusted_hosts)
