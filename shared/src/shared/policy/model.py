"""Types, validation and version hash of the policy. Rules get a `Policy` as an argument and never read a file.

A number that contradicts another (an unknown criterion, a level without a team, a calendar that never opens) is refused
when the policy is loaded, with its place in the file.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, time, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    field_validator,
    model_validator,
)

from shared.policy.patterns import Patterns, Phrase, Rule
from shared.vocabulary import (
    CATEGORY_OF,
    Category,
    Criterion,
    Hint,
    IncidentClass,
    Level,
    Milestone,
    Severity,
    Subcategory,
    Team,
    Tier,
    Unit,
)

W = TypeVar("W", Criterion, Subcategory, Hint)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(_Part):
    """How long a milestone may take. Written `48 hours`, `5 business_days`, `same_day`, `next_business_day`."""

    amount: int = Field(ge=0)
    unit: Unit

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        amount, _, unit = value.rpartition(" ")
        return {"amount": amount or 1, "unit": unit}

    @property
    def elapsed(self) -> timedelta | None:
        """The length of a target that elapses day and night; None for business time (L2)."""
        if self.unit is Unit.MINUTES:
            return timedelta(minutes=self.amount)
        if self.unit is Unit.HOURS:
            return timedelta(hours=self.amount)
        return None


class Targets(_Part):
    """The promises of one tier or of one subcategory; a missing one is not promised there (L1, L5, L6, L7)."""

    clause: str = "L1"
    acknowledgement: Target | None = None
    initial_response: Target | None = None
    resolution: Target | None = None
    escalation: Target | None = None

    def of(self, milestone: Milestone) -> Target | None:
        target: Target | None = getattr(self, milestone.value)
        return target


class TeamLadder(_Part):
    """Who owns a category and who handles each of its levels (R1)."""

    owner: Team
    levels: dict[Level, Team]
    owner_from_level: dict[Level, Team] = {}

    def owning_team(self, level: Level) -> Team:
        """The category's team; for IP tickets legal from Level 3 on (R1)."""
        owner = self.owner
        for from_level, team in sorted(self.owner_from_level.items()):
            if level.rank >= from_level.rank:
                owner = team
        return owner


class Place(_Part):
    """A team and a level."""

    team: Team
    level: Level


class Entry(_Part):
    """Where a subcategory enters when that is not Level 1 (R3-R6)."""

    level: Level
    clause: str
    also_notified: tuple[Team, ...] = ()


class CriteriaRow(_Part):
    """The criteria of one category and the level each raises to (E0)."""

    clause: str
    to_level: dict[Level, tuple[Criterion, ...]]

    @cached_property
    def level_of(self) -> dict[Criterion, Level]:
        return {criterion: level for level, criteria in self.to_level.items() for criterion in criteria}


class Everywhere(_Part):
    """What a criterion does in every category (E5)."""

    team: Team
    level: Level
    becomes: Subcategory | None = None


Share = Annotated[float, Field(ge=0, le=1)]


class Classification(_Part):
    """How sure a classification has to be (C3, C5); shares of certainty, 0-1."""

    triage_below: dict[Category, Share]
    """By the best category: below it the ticket goes to triage. Lower where a miss costs more than a false alarm."""
    subcategory_from: Share
    """From here on the likeliest subcategory of the category is named, else it stays open (C2)."""
    secondary_from: Share
    """From here on what a part of the text is about is kept beside the primary topic (C5)."""
    leading_from: Share
    """From here on a part of the text that is about safety, a claim or unfit content leads, whatever the rest says (C5)."""
    danger_from: Share
    """From here on a text, or a single sentence of it, tells of crisis or abuse, whatever the rest or upstream says (C4)."""
    danger_if_doubtful_from: Share
    """The same where words of crisis were found and an exception took them back."""


class Several(_Part):
    """So many different people within so long make one matter of it (E2, E6)."""

    requesters: int = Field(ge=2)
    within_minutes: int = Field(gt=0, le=1_000_000)


class Escalation(_Part):
    rows: dict[Category, CriteriaRow]
    everywhere: dict[Criterion, Everywhere]
    same_ip: Several
    same_trouble: Several
    replies_before_persisting: int = Field(ge=1)
    """A customer who writes again after so many replies of Level 1 still has the trouble (E1)."""
    high_profile_ips: Annotated[frozenset[str], PlainSerializer(sorted, return_type=list[str])] = frozenset()
    """Ids or names of intellectual property that legal looks at in any case (E2)."""


class Hygiene(_Part):
    """When a ticket looks like no ticket. These are suggestions: a person closes it."""

    duplicate_within_minutes: int = Field(gt=0, le=1_000_000)
    flood_tickets: int = Field(gt=1, le=1000)
    flood_within_minutes: int = Field(gt=0, le=1_000_000)
    loop_machine_mails: int = Field(gt=1)


class Window(_Part):
    """Opening hours inside one day, half-open; `closes` <= `opens` ends the next day (L3)."""

    opens: time
    closes: time

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if not re.fullmatch(r"\d\d:\d\d-\d\d:\d\d", value):
            raise ValueError("a window is written 09:00-17:00")
        opens, _, closes = value.partition("-")
        return {"opens": opens, "closes": "00:00" if closes == "24:00" else closes}


class Holidays(_Part):
    """Public holidays of a country, observed days included (L2)."""

    country: str
    subdivision: str | None = None


WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _weekdays(hours: dict[str, tuple[Window, ...]]) -> dict[str, tuple[Window, ...]]:
    if unknown := set(hours) - set(WEEKDAYS):
        raise ValueError(f"not a weekday: {', '.join(sorted(unknown))}")
    return hours


Week = Annotated[dict[str, tuple[Window, ...]], AfterValidator(_weekdays)]
"""Opening hours by weekday; a day that is not named does not open."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("not a time zone") from None
    return name


class WorkingHours(_Part):
    """When a member is there, by the clocks of the zone."""

    zone: Annotated[str, AfterValidator(_zone)]
    opening_hours: Week


class Member(_Part):
    """Somebody of a team, and how many tickets with a running clock at a time (R1)."""

    id: str = Field(min_length=1, max_length=128)
    capacity: int = Field(ge=0)
    works: WorkingHours | None = None
    """None is always."""


class Routing(_Part):
    teams: dict[Category, TeamLadder]
    triage: Place
    entries: dict[Subcategory, Entry]
    members: dict[Team, tuple[Member, ...]] = {}
    """Tickets of a team without members go to the team."""


class CalendarPolicy(_Part):
    """When business time counts (L2, L3)."""

    id: str
    zone: str
    nominal_day_minutes: int = Field(gt=0, le=24 * 60)
    opening_hours: Week
    holidays: Holidays | None = None
    closed_days: dict[date, str] = {}
    special_days: dict[date, tuple[Window, ...]] = {}


class Clocks(_Part):
    targets: dict[Tier, Targets]
    overlays: dict[Subcategory, Targets]
    calendar: CalendarPolicy
    warn_at: tuple[Annotated[float, Field(gt=0, lt=1)], ...]
    short_notice_minutes: int
    reopen_within_days: int
    grace_share: Share
    """How much of its new target is left after a change that tightens it (L11)."""
    unrouted_after_seconds: int

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if list(self.warn_at) != sorted(set(self.warn_at)):
            raise ValueError("warn_at must ascend")
        return self


def _severity(value: Any) -> Any:
    if isinstance(value, str) and value.upper() not in Severity.__members__:
        raise ValueError("not a severity")
    return Severity[value.upper()] if isinstance(value, str) else value


SeverityWord = Annotated[Severity, BeforeValidator(_severity)]


Positive = Annotated[int, Field(gt=0)]
CodeWord = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""A word that stands for itself in events and commands."""


class IncidentDefaults(_Part):
    """The class and severity of an incident that a safety ticket opens (S8)."""

    incident_class: IncidentClass
    severity: SeverityWord


class PagingStep(_Part):
    after_minutes: int = Field(ge=0)
    roles: tuple[str, ...] = Field(min_length=1)


class PagingLadder(_Part):
    """Who is paged when; the last step repeats every `then_every_minutes`, without end (S4)."""

    steps: tuple[PagingStep, ...] = Field(min_length=1)
    then_every_minutes: int = Field(gt=0)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        minutes = [step.after_minutes for step in self.steps]
        if minutes != sorted(set(minutes)):
            raise ValueError("steps must ascend")
        return self


class PagingLane(StrEnum):
    """The ladder an incident climbs: the first that applies (S4)."""

    CRISIS = "crisis"
    MANDATORY_REPORT = "mandatory_report"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Relaxation(StrEnum):
    """What nobody decides alone; closing, where it is high or critical (S1)."""

    CLOSE = "close"
    LOWER_SEVERITY = "lower_severity"
    RELEASE_GUARDIAN = "release_guardian"
    SUPPRESS_GUARDIAN = "suppress_guardian"
    CLOSE_REPORT = "close_report"
    END_INTERVENTION = "end_intervention"


class Storm(_Part):
    """More incidents opened within so many seconds than this; over once that was not so for a while (S4)."""

    opened: int = Field(gt=0)
    within_seconds: int = Field(gt=0)
    over_after_minutes: int = Field(gt=0)


class Watch(_Part):
    """When something is odd about the watch itself, and which roles are told of it (S4)."""

    roles: tuple[str, ...] = Field(min_length=1)
    feed_silent_after_seconds: int = Field(gt=0)
    tell_again_after_minutes: int = Field(gt=0)
    gap_after_seconds: int = Field(gt=0)
    storm: Storm


class Safety(_Part):
    severities: dict[Subcategory, IncidentDefaults]
    severity_floor: dict[IncidentClass, SeverityWord]
    acknowledge_within_minutes: dict[IncidentClass, Positive]
    outcome_within_minutes: dict[IncidentClass, Positive]
    confirm_hand_off_within_minutes: Positive
    warn_at_percent: tuple[Annotated[int, Field(gt=0, lt=100)], ...]
    lease_minutes: dict[PagingLane, Positive | None]
    """How long an acknowledgement holds without progress; None is for ever (S4)."""
    proposal_valid_minutes: Positive
    restricted_ticket_after_minutes: Positive
    must_acknowledge: dict[IncidentClass, tuple[str, ...]]
    paging: dict[PagingLane, PagingLadder]
    report_paging: PagingLadder
    hand_off_paging: PagingLadder
    progress: tuple[CodeWord, ...]
    checklists: dict[IncidentClass, tuple[CodeWord, ...]]
    checklist_of_every_incident: tuple[CodeWord, ...]
    reasons: dict[Relaxation, Annotated[tuple[CodeWord, ...], Field(min_length=1)]]

    @field_validator("warn_at_percent")
    @classmethod
    def _rising(cls, percents: tuple[int, ...]) -> tuple[int, ...]:
        if list(percents) != sorted(set(percents)):
            raise ValueError("warnings must ascend")
        return percents

    watch: Watch
    keep_for_days: int = Field(gt=0)
    """How long what an incident holds sealed is kept after the last of it came (S5)."""


class FollowUp(_Part):
    """Whether and when a customer is asked if the matter is solved (T5)."""

    enabled: bool
    after_business_days: Positive


class Automatic(_Part):
    """So many messages go out by themselves to one requester within so long; what comes beyond is a loop, and cut."""

    messages: Positive
    within_minutes: Positive


class Notices(_Part):
    """What may wait, what is asked afterwards, and how much goes out by itself (T5, T6)."""

    notify_hours: Week
    follow_up: FollowUp
    automatic: Automatic


class Meaning(_Part):
    """Patterns of words that mean the same, and those that take it back: a story, an idiom, a denial."""

    says: tuple[str, ...] = Field(min_length=1)
    unless: tuple[str, ...] = ()


class LanguageWords(_Part):
    """What the words of one language mean; one file a language. How patterns are written: `patterns.py`."""

    sets: dict[str, tuple[str, ...]] = {}
    safety: dict[Subcategory, Meaning]
    """Words of crisis, abuse and danger to a child: intake flags by them, nothing overrules them (C4, E5, S6)."""
    criteria: dict[Criterion, Meaning]
    """Words that meet a criterion (E5, E6)."""
    topics: dict[Subcategory, Meaning] = {}
    """Words that name what a ticket without a category is about (C2)."""
    hygiene: dict[Hint, Meaning] = {}
    """Words of machines and of spam."""

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if outside := [name.value for name in self.safety if CATEGORY_OF[name] is not Category.SAFETY]:
            raise ValueError(f"safety: not of that category: {', '.join(outside)}")
        for part in (self.safety, self.criteria, self.topics, self.hygiene):
            for meaning in part.values():
                unless = self.phrases(meaning.unless)
                Patterns(Rule(None, phrase, unless) for phrase in self.phrases(meaning.says))
        return self

    def phrases(self, texts: tuple[str, ...]) -> tuple[Phrase, ...]:
        """Patterns of this language, as they are written in it."""
        return tuple(Phrase(text, self.sets) for text in texts)


class IssueText(_Part):
    """How a kind of matter is called in a subject line, and what its initial response says of it (T2)."""

    issue_type: str = Field(min_length=1)
    response: str = Field(min_length=1)


class Texts(_Part):
    """What customers are told beside the templates (T2)."""

    general: IssueText
    categories: dict[Category, IssueText]
    subcategories: dict[Subcategory, IssueText]
    escalation_details: dict[Criterion, str]
    teams: dict[Team, str]

    def of(self, category: Category | None, subcategory: Subcategory | None) -> IssueText:
        """The closest text there is: the subcategory's, else the category's, else the general one."""
        if subcategory is not None:
            return self.subcategories[subcategory]
        return self.categories[category] if category is not None else self.general


class Policy(_Part):
    """Everything the rules decide by. Frozen; `version` is recorded in every decision (R8)."""

    id: str
    classification: Classification
    routing: Routing
    escalation: Escalation
    hygiene: Hygiene
    clocks: Clocks
    safety: Safety
    notices: Notices
    texts: Texts
    words: dict[str, LanguageWords] = Field(min_length=1)
    """By language, as one file each."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        _all(Category, self.classification.triage_below, "classification.triage_below")
        _all(Category, self.routing.teams, "routing.teams")
        _all(Category, self.escalation.rows, "escalation.rows")
        _all(Tier, self.clocks.targets, "clocks.targets")
        _all(IncidentClass, self.safety.must_acknowledge, "safety.must_acknowledge")
        _all(IncidentClass, self.safety.acknowledge_within_minutes, "safety.acknowledge_within_minutes")
        _all(PagingLane, self.safety.paging, "safety.paging")
        _all(IncidentClass, self.safety.outcome_within_minutes, "safety.outcome_within_minutes")
        _all(IncidentClass, self.safety.checklists, "safety.checklists")
        _all(PagingLane, self.safety.lease_minutes, "safety.lease_minutes")
        _all(Relaxation, self.safety.reasons, "safety.reasons")
        _all(Category, self.texts.categories, "texts.categories")
        _all(Subcategory, self.texts.subcategories, "texts.subcategories")
        _all({*Criterion, *self.criteria}, self.texts.escalation_details, "texts.escalation_details")
        _all({*Team, *self.teams}, self.texts.teams, "texts.teams")
        for subcategory, entry in self.routing.entries.items():
            category = CATEGORY_OF[subcategory]
            if entry.level not in self.routing.teams[category].levels:
                raise ValueError(f"routing.entries.{subcategory}: {category} has no level {entry.level:d}")
        for category, row in self.escalation.rows.items():
            if missing := row.to_level.keys() - self.routing.teams[category].levels.keys():
                raise ValueError(f"escalation.rows.{category}: there is no level {min(missing):d}")
        return self

    def rules(self, part: Callable[[LanguageWords], Mapping[W, Meaning]]) -> Iterator[Rule[tuple[W, str]]]:
        """The patterns of a part in every language, each standing for its word and its id, `<word>.<language>.<number>`.

        What takes a meaning back does so in whichever language it was said: a word may be at home in several.
        """
        unless: dict[W, tuple[Phrase, ...]] = {}
        for spoken in self.words.values():
            for word, meaning in part(spoken).items():
                unless[word] = unless.get(word, ()) + spoken.phrases(meaning.unless)
        for language, spoken in self.words.items():
            for word, meaning in part(spoken).items():
                for number, phrase in enumerate(spoken.phrases(meaning.says), start=1):
                    yield Rule((word, f"{word.value}.{language}.{number}"), phrase, unless[word])

    @property
    def notify_calendar(self) -> CalendarPolicy:
        """When notices that may wait go out: the office's calendar with the notify hours in place of its own (T6)."""
        hours = {"id": f"{self.clocks.calendar.id}-notify", "opening_hours": self.notices.notify_hours}
        return self.clocks.calendar.model_copy(update=hours)

    @cached_property
    def criteria(self) -> frozenset[Criterion]:
        """Every word of E0: those of the rows, those that hold everywhere, and the clock's."""
        rows = (criterion for row in self.escalation.rows.values() for criterion in row.level_of)
        return frozenset((*rows, *self.escalation.everywhere, Criterion.ESCALATION_DUE))

    @cached_property
    def teams(self) -> frozenset[Team]:
        """Every team that handles or owns tickets."""
        ladders = self.routing.teams.values()
        return frozenset(team for ladder in ladders for team in (ladder.owner, *ladder.levels.values()))

    def __hash__(self) -> int:
        return hash(self.version)

    @cached_property
    def version(self) -> str:
        """`<id>@<first 12 hex digits of the hash of all numbers>`."""
        numbers = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return f"{self.id}@{hashlib.sha256(numbers.encode()).hexdigest()[:12]}"


def _all(words: Any, table: Any, place: str) -> None:
    if missing := sorted(word.value for word in words if word not in table):
        raise ValueError(f"{place}: missing {', '.join(missing)}")
