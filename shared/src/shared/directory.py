"""Whom we can reach: teams and their leads, and the people on duty by role. Read from SUPPORT_DIRECTORY_FILE.

Events name teams and roles only; addresses are looked up here at the moment of sending, so that a page finds the people
of that moment and no address travels through a topic (S5). The safety-bridge asks which roles are reachable and when they
change hands, the notifier where to. A role is held by a list of people or by a schedule (`duty.py`). The address of a channel
that is no mail is a URL, and whoever knows it can use it: it shows in no `repr` and in no error.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Self

import yaml
from pydantic import Field, StringConstraints, ValidationError, model_validator

from shared.duty import Part, PersonId, Schedule
from shared.vocabulary import Team

_ADDRESS = r"[^\s\x00-\x1f\x7f<>,;:\"@]+@[^\s\x00-\x1f\x7f<>,;:\"@]+"
_URL = r"https?://[!-~]+"

Address = Annotated[str, StringConstraints(max_length=254, pattern=f"^{_ADDRESS}$")]
"""An e-mail address and nothing else: what could start another header or recipient is refused."""

Url = Annotated[str, StringConstraints(max_length=2_000, pattern=f"^{_URL}$")]
"""Where a program takes a POST."""

AN_INSTANT = timedelta(microseconds=1)


class OnCallRole(StrEnum):
    """Who is paged, as the policy's paging ladders name them (S4)."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    LEAD = "lead"
    SAFETY_TEAM = "safety_team"
    LEGAL_COMPLIANCE = "legal_compliance"
    LAST_RESPONDER = "last_responder"
    OPS = "ops"
    """Told of what is odd about the watch itself, beside the lead."""


class InvalidDirectory(ValueError):  # noqa: N818 - it names the file, not the failure
    """The directory file cannot be used; the text names places in it, never an address."""


class ChannelKind(StrEnum):
    """A way to reach a person."""

    EMAIL = "email"
    SLACK = "slack"
    """An incoming webhook of Slack, to a place that only people on duty read."""
    WEBHOOK = "webhook"
    """A program that takes a signed POST, for example a pager."""
    APPRISE = "apprise"
    """Whatever the package `apprise` can reach, as a URL of its own."""


_FORMS: Mapping[ChannelKind, re.Pattern[str]] = {
    ChannelKind.EMAIL: re.compile(_ADDRESS),
    ChannelKind.SLACK: re.compile(_URL),
    ChannelKind.WEBHOOK: re.compile(_URL),
    ChannelKind.APPRISE: re.compile(r"[a-z][a-z0-9+.-]*://[!-~]*"),
}


class PersonChannel(Part):
    """One way to reach a person. Urgent: it rings at night. Verified: it was seen to work."""

    kind: ChannelKind
    address: Annotated[str, StringConstraints(max_length=2_000)] = Field(repr=False)
    urgent: bool = False
    verified: bool = False

    @model_validator(mode="after")
    def _has_the_form_of_its_kind(self) -> Self:
        if not _FORMS[self.kind].fullmatch(self.address):
            raise ValueError(f"the address is none of kind {self.kind}")
        return self


class Person(Part):
    """Somebody on duty. `id` may appear in logs and events, name and address may not.

    `email` alone is the short form of one urgent, verified mail address.
    """

    id: PersonId
    name: str | None = None
    email: Address | None = None
    channels: tuple[PersonChannel, ...] = ()

    @model_validator(mode="after")
    def _can_be_paged(self) -> Self:
        if not self.urgent_channels:
            raise ValueError(f"{self.id} has no verified urgent channel, and whoever may be paged needs one (S4)")
        return self

    @property
    def urgent_channels(self) -> tuple[PersonChannel, ...]:
        """The ways a page takes to this person, all of them together (S4)."""
        short = () if self.email is None else (_urgent_mail(self.email),)
        return (*short, *(one for one in self.channels if one.urgent and one.verified))

    @cached_property
    def ways(self) -> Mapping[str, PersonChannel]:
        """The urgent channels by name: the kind, with a number from the second of a kind on (`email`, `email-2`)."""
        ways: dict[str, PersonChannel] = {}
        for channel in self.urgent_channels:
            before = sum(one.kind is channel.kind for one in ways.values())
            ways[f"{channel.kind}-{before + 1}" if before else channel.kind.value] = channel
        return ways


def _urgent_mail(address: str) -> PersonChannel:
    return PersonChannel(kind=ChannelKind.EMAIL, address=address, urgent=True, verified=True)


class TeamContact(Part):
    """A team's shared inbox, and its lead's; with `slack` or `webhook` the team is told there as well, in a line (S5)."""

    address: Address
    lead: Address
    slack: Url | None = Field(default=None, repr=False)
    webhook: Url | None = Field(default=None, repr=False)

    @property
    def channels(self) -> Mapping[ChannelKind, str]:
        """The URLs by kind."""
        both = ((ChannelKind.SLACK, self.slack), (ChannelKind.WEBHOOK, self.webhook))
        return {kind: url for kind, url in both if url is not None}


class Directory(Part):
    """Teams and people on duty. A role that neither list nor schedule names is simply empty."""

    teams: dict[Team, TeamContact]
    on_call: dict[OnCallRole, tuple[Person, ...]] = Field(default_factory=dict)
    schedules: dict[OnCallRole, Schedule] = Field(default_factory=dict)
    people: tuple[Person, ...] = ()
    """Whom schedules name by id, beside those that stand in `on_call`."""

    @model_validator(mode="after")
    def _every_team(self) -> Self:
        if missing := [team for team in Team if team is not Team.CHILD_SAFETY_AGENT and team not in self.teams]:
            raise ValueError(f"teams: missing {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _one_way_each(self) -> Self:
        for person in self._everybody():
            if self._person_of[person.id] != person:
                raise ValueError(f"{person.id} is described twice and differently")
        for role, schedule in self.schedules.items():
            if role in self.on_call:
                raise ValueError(f"{role}: either a list in on_call or a schedule")
            if strangers := schedule.members - self._person_of.keys():
                raise ValueError(f"schedules.{role}: nobody is called {', '.join(sorted(strangers))}")
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

    def on_duty(self, role: str, at: datetime) -> tuple[Person, ...]:
        """Who holds the role at this instant; empty when nobody does, also for a role the directory does not know."""
        if schedule := self._schedule(role):
            holder = schedule.person(at)
            return (self._person_of[holder],) if holder else ()
        return next((people for held, people in self.on_call.items() if held == role), ())

    def staff(self) -> dict[str, frozenset[str]]:
        """By person, the roles they hold now or in turn: in which they may act."""
        held = {person: set[str]() for person in self._person_of}
        for role, people in self.on_call.items():
            for person in people:
                held[person.id].add(role.value)
        for role, schedule in self.schedules.items():
            for member in schedule.members:
                held[member].add(role.value)
        return {person: frozenset(roles) for person, roles in held.items()}

    def on_duty_since(self, role: str, since: datetime, now: datetime) -> tuple[Person, ...]:
        """Whoever held the role at any time from `since` until now, the earliest first."""
        held = self.on_duty(role, min(since, now))
        for handover in self.handovers([role], since, now):
            held += self.on_duty(role, handover)
        return tuple({person.id: person for person in held}.values())

    def relieved_at(self, role: str, at: datetime) -> tuple[Person, ...]:
        """Who came on duty at this instant and was not on duty right before it."""
        before = self.on_duty(role, at - AN_INSTANT)
        return tuple(person for person in self.on_duty(role, at) if person not in before)

    def handovers(self, roles: Iterable[str], after: datetime, until: datetime) -> list[datetime]:
        """The instants after the one and up to the other at which one of the roles changes hands, in order."""
        schedules = [schedule for role in roles if (schedule := self._schedule(role))]
        return sorted({at for schedule in schedules for at in schedule.handovers(after, until)})

    def gaps(self, role: str, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The half-open stretches in between in which nobody holds the role."""
        edges = [since, *(at for at in self.handovers([role], since, until) if at < until), until]
        for begin, end in pairwise(edges):
            if not self.on_duty(role, begin):
                yield begin, end

    def find_person(self, person_id: str) -> Person | None:
        """The person of this id, on duty or not."""
        return self._person_of.get(person_id)

    def team_address(self, team: Team) -> str | None:
        """The team's inbox; None for the Child Safety Agent where the file gives it none, since it is no person."""
        contact = self.teams.get(team)
        return contact.address if contact else None

    def team_channels(self, team: Team) -> Mapping[ChannelKind, str]:
        """Where else than in its inbox the team is told, by kind."""
        contact = self.teams.get(team)
        return contact.channels if contact else {}

    def ways(self) -> Iterator[tuple[str, ChannelKind, str]]:
        """Every way that somebody may be reached by: whose, of which kind, where to."""
        for person in self._everybody():
            yield from ((person.id, way.kind, way.address) for way in person.urgent_channels)
        for team, contact in self.teams.items():
            yield from ((f"teams.{team}", kind, url) for kind, url in contact.channels.items())

    def lead_address(self, team: Team) -> str | None:
        """The inbox of the team's lead; None as for `team_address`."""
        contact = self.teams.get(team)
        return contact.lead if contact else None

    @cached_property
    def _person_of(self) -> dict[str, Person]:
        return {person.id: person for person in self._everybody()}

    def _everybody(self) -> Iterator[Person]:
        yield from self.people
        for people in self.on_call.values():
            yield from people

    def _schedule(self, role: str) -> Schedule | None:
        return next((schedule for held, schedule in self.schedules.items() if held == role), None)
