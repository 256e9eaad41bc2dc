"""The settings of intake beyond those of every service."""

from datetime import timedelta

from pydantic import Field

from shared.runtime.keys import MasterKeyFile, MasterKeys
from shared.runtime.settings import ServiceSettings


class IntakeSettings(ServiceSettings):
    http_port: int = Field(default=8080, ge=0, le=65535)
    master_key_file: MasterKeyFile
    """They seal what nobody could read on its way to the safety-bridge, which has the same ones (S5)."""
    intake_max_age_days: float = Field(default=7, gt=0, le=7)
    """Older events are refused; accepted ids are remembered as long (L13). At most as long as consumers remember."""
    intake_events_per_second: float = Field(default=5_000, ge=0)
    """Ticket events of one key; 0 switches the limit off. Safety is never limited (S6)."""

    def keys(self) -> MasterKeys:
        return MasterKeys.from_file(self.master_key_file)

    @property
    def max_age(self) -> timedelta:
        return timedelta(days=self.intake_max_age_days)
