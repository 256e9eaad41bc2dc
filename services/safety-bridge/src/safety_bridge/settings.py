"""Every environment variable of the safety-bridge, beside those every service knows; prefix `SUPPORT_`."""

from pathlib import Path

from pydantic import Field, field_validator

from shared.directory import Directory
from shared.events.envelope import Identifier
from shared.runtime.keys import KeyService, MasterKeyFile, MasterKeys
from shared.runtime.settings import LaneSettings, SecretUrl


class SafetyBridgeSettings(LaneSettings):
    http_port: int = Field(default=8083, ge=0, le=65535)
    directory_file: Path
    """Who is on duty; the bridge asks only which roles somebody holds, and when they change hands."""

    safety_feeds: tuple[Identifier, ...] = ()
    """The sources that have to be heard, as a JSON list: each sends a heartbeat every 30 seconds, and its silence is told."""
    safety_beat_url: SecretUrl | None = None
    """Where the outside watcher takes a POST every 30 seconds while nobody is forgotten; whoever knows it can fake the beat."""

    environment: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9-]{0,31}$")
    """Which deployment this is (`prod`, `staging`, …): an event that says it is of another one is set apart. Unset: none is."""
    master_key_file: MasterKeyFile
    """They wrap the key of each incident; intake has the same ones."""
    audit_heads_file: Path | None = None
    """Where each published head of the audit is also added as a line of JSON; best on a machine of somebody else."""

    @field_validator("directory_file")
    @classmethod
    def _readable(cls, path: Path) -> Path:
        try:
            Directory.from_yaml(path.read_text())
        except OSError:
            raise ValueError("the file cannot be read") from None
        return path

    def keys(self) -> KeyService:
        return MasterKeys.from_file(self.master_key_file)
