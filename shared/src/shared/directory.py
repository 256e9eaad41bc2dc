"""Whom we can reach: teams and their leads, and the people on duty by role. Read from SUPPORT_DIRECTORY_FILE.

Events name teams and roles only; addresses are looked up here at the moment of sending, so that a page finds the people
of today and no address travels through a topic (S5). The safety-bridge asks which roles are reachable, the notifier
where to.
"""

from enum import StrEnum
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from shared.vocabulary import Team

Address = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^[^\s\x00-\x1f\x7f<>,;:\"@]+@[^\s\x00-\x1f\x7f<>,;:\"@]+$")
]
"""An e-mail address and nothing else: what could start another header or recipient is refused."""

PersonId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class OnCallRole(StrEnum):
    """Who is paged, as the policy's paging ladders name them (S4)."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    LEAD = "lead"
    SAFETY_TEAM = "safety_team"
    LEGAL_COMPLIANCE = "legal_compliance"
    LAST_RESPONDER = "last_responder"


class InvalidDirectory(ValueError):  # noqa: N818 - it names the file, not the failure
    """The directory file cannot be used; the text names places in it, never an address."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Person(_Part):
    """Somebody on duty. `id` may appear in logs and events, name and address may not."""

    id: PersonId
    name: str | None = None
    email: Address


class TeamContact(_Part):
    """A team's shared inbox, and its lead's."""

    address: Address
    lead: Address


class Directory(_Part):
    """Teams and people on duty. A role nobody holds is simply empty."""

    teams: dict[Team, TeamContact]
    on_call: dict[OnCallRole, tuple[Person, ...]]

    @model_validator(mode="after")
    def _every_team(self) -> Self:
        if missing := [team for team in Team if team is not Team.CHILD_SAFETY_AGENT and team not in self.teams]:
            raise ValueError(f"teams: missing {', '.join(missing)}")
        return self

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """
        Raises:
            InvalidDirectory: naming each place that is wrong.
        """
        try:
            return cls.model_validate(yaml.safe_load(text))
        except yaml.YAMLError:
            raise InvalidDirectory("the directory file is not YAML") from None
        except ValidationError as error:
            places = (f"{'.'.join(map(str, part['loc'])) or 'file'}: {part['msg']}" for part in error.errors())
            raise InvalidDirectory("; ".join(places)) from None

    def people(self, role: str) -> tuple[Person, ...]:
        """Who holds the role now; empty when nobody does, also for a role the directory does not know."""
        return next((people for held, people in self.on_call.items() if held == role), ())

    def staff(self) -> dict[str, frozenset[str]]:
        """By person, the roles they hold: in which they may act."""
        held = {person.id: set[str]() for people in self.on_call.values() for person in people}
        for role, people in self.on_call.items():
            for person in people:
                held[person.id].add(role.value)
        return {person: frozenset(roles) for person, roles in held.items()}

    def team_address(self, team: Team) -> str | None:
        """The team's inbox; None for the Child Safety Agent where the file gives it none, since it is no person."""
        contact = self.teams.get(team)
        return contact.address if contact else None

    def lead_address(self, team: Team) -> str | None:
        """The inbox of the team's lead; None as for `team_address`."""
        contact = self.teams.get(team)
        return contact.lead if contact else None
