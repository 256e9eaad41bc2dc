"""Every environment variable of the safety-bridge, beside those every service knows; prefix `SUPPORT_`."""

from pathlib import Path

from pydantic import Field, field_validator

from shared.directory import Directory
from shared.runtime.settings import ServiceSettings


class SafetyBridgeSettings(ServiceSettings):
    http_port: int = Field(default=8083, ge=0, le=65535)
    directory_file: Path
    """Who is on duty; the bridge asks only which roles somebody holds."""

    environment: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9-]{0,31}$")
    """Which deployment this is (`prod`, `staging`, …): an event that says it is of another one is set apart. Unset: none is."""

    @field_validator("directory_file")
    @classmethod
    def _readable(cls, path: Path) -> Path:
        try:
            Directory.from_yaml(path.read_text())
        except OSError:
            raise ValueError("the file cannot be read") from None
        return path

    def directory(self) -> Directory:
        return Directory.from_yaml(self.directory_file.read_text())
