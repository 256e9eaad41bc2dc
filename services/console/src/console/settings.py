"""Where the running system is: `.run/endpoints.json` of `make run`, another such file, or environment variables."""

import json
from pathlib import Path

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

CONSUMING_SERVICES = ("router", "sla-monitor", "safety-bridge", "notifier")


class NotFound(Exception):  # noqa: N818
    """There is no running system where we looked."""


class Installation(BaseModel):
    """A running system: its broker, its services, and a key that may ask them."""

    kafka: str
    topic_prefix: str = ""
    api_key: SecretStr
    services: dict[str, str]
    """Service name -> base URL."""
    database: SecretStr | None = None


class ConsoleSettings(BaseSettings):
    """`SUPPORT_ENDPOINTS` names an endpoints file; single values given beside it win over the file's."""

    model_config = SettingsConfigDict(env_prefix="SUPPORT_", extra="ignore")

    endpoints: Path = Path(".run/endpoints.json")
    kafka_bootstrap_servers: str | None = None
    topic_prefix: str = ""
    api_key: SecretStr | None = None
    service_urls: dict[str, str] = Field(default_factory=dict)
    """JSON: {"router": "http://…", …}."""

    def installation(self) -> Installation:
        """
        Raises:
            NotFound: neither the file nor the variables say where the system is.
        """
        try:
            found = json.loads(self.endpoints.read_text()) if self.endpoints.exists() else {}
        except (OSError, ValueError):
            raise NotFound(f"{self.endpoints} cannot be read") from None
        kafka = self.kafka_bootstrap_servers or found.get("kafka")
        key = self.api_key.get_secret_value() if self.api_key else found.get("api_key", "")
        urls = {name: service["url"] for name, service in found.get("services", {}).items()} | self.service_urls
        if not kafka:
            raise NotFound(
                f"no {self.endpoints} and no SUPPORT_KAFKA_BOOTSTRAP_SERVERS: is the system running (make run)?"
            )
        return Installation(
            kafka=kafka,
            topic_prefix=self.topic_prefix,
            api_key=SecretStr(key),
            services=urls,
            database=found.get("database"),
        )
