"""Where a running system is, as `endpoints.json` tells it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Installation:
    """Addresses, and a key that may do everything."""

    kafka: str
    api_key: str
    services: dict[str, str]
    """Service name -> base URL."""
    mail_url: str
    topic_prefix: str = ""

    @classmethod
    def of(cls, endpoints_file: Path) -> Self:
        told = json.loads(endpoints_file.read_text())
        return cls(
            kafka=told["kafka"],
            api_key=told["api_key"],
            services={name: service["url"] for name, service in told["services"].items()},
            mail_url=told["catchers"]["mail"]["url"],
        )
