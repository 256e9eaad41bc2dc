"""Every environment variable of the router."""

from pydantic import Field

from shared.runtime.settings import ServiceSettings


class RouterSettings(ServiceSettings):
    """What the router needs to run: nothing beyond what every service does."""

    http_port: int = Field(default=8081, ge=0, le=65535)
