"""Hostile random cases for the oracle: `random_case(random.Random(seed), *random_world(seed)) -> (created_at, facts, now)`.

A world is a few days of the year, a time zone, opening hours and promises; every zone of the tz database has its turn, those
with odd clock changes more often.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from random import Random
from zoneinfo import ZoneInfo, available_timezones

import clock_oracle as oracle
from clock_oracle import Rules, Target

MICRO = timedelta(microseconds=1)
ODD_ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "UTC",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Pacific/Chatham",
    "Africa/Cairo",
    "Asia/Gaza",
    "America/Santiago",
    "Africa/Casablanca",
    "Europe/Dublin",
    "Antarctica/Troll",
    "Asia/Kathmandu",
    "Pacific/Kiritimati",
    "Pacific/Marquesas",
    "America/Havana",
    "Asia/Beirut",
    "America/Los_Angeles",
    "Europe/London",
    "Pacific/Auckland",
    "America/Asuncion",
]
ALL_ZONES = sorted(
    zone for zone in available_timezones() if "/" in zone and not zone.startswith(("Etc/", "posix", "right"))
)
EARLY, ODD_HOURS, MIXED_UNITS, SCENES = 0.1, 0.15, 0.3, 0.15
"""How often facts lie before the first decision, hours begin or end in a clock change, resolution and escalation elapse day and
night, and a few facts belong together."""
TIERS = ("free", "individual", "premium", "professional", "enterprise")
MILESTONES = ("acknowledgement", "initial_response", "resolution", "escalation")
REASONS = ("closed", "spam", "merged", "duplicate")

H, D = "hours", "business_days"
SEED_TARGETS = {
    tier: {"initial_response": Target(response, H), "resolution": resolution, "escalation": escalation}
    for tier, response, resolution, escalation in (
        ("free", 48, Target(5, D), Target(7, D)),
        ("individual", 24, Target(3, D), Target(5, D)),
        ("premium", 12, Target(2, D), Target(3, D)),
        ("professional", 4, Target(1, D), Target(2, D)),
        ("enterprise", 1, Target(0, "same_day"), Target(0, "next_business_day")),
    )
}
IP = {"initial_response": Target(24, H), "resolution": Target(3, D)}
SEED_OVERLAYS = {
    "missing_attribution": IP,
    "false_positive": IP,
    "user_question": IP,
    "rights_holder_claim": {"acknowledgement": Target(1, H), "initial_response": Target(24, H)},
    "crisis_detection": {"initial_response": Target(5, "minutes")},
    "mandatory_reporting": {"initial_response": Target(1, H)},
    "content_moderation": {"initial_response": Target(4, H)},
    "privacy_concern": {"initial_response": Target(24, H)},
    "coppa_compliance": {"initial_response": Target(24, H)},
}
# category, subcategory, owning team, {level: team}
SERVICE = "customer_service"
PLACES = (
    (None, None, SERVICE, {1: SERVICE}),
    ("technical", "api_errors", "technical_support", {1: SERVICE, 2: "technical_support", 3: "engineering"}),
    ("technical", None, "technical_support", {1: SERVICE, 2: "technical_support", 3: "engineering"}),
    ("account", "login", SERVICE, {1: SERVICE, 2: "technical_support", 3: "engineering"}),
    ("billing", "refund_request", "finance", {1: SERVICE, 2: "finance", 3: "executive"}),
    ("billing", "refund_request", "finance", {3: "legal"}),
    ("content", "story_quality", "content", {1: SERVICE, 2: "content", 3: "safety"}),
    ("ip_attribution", "user_question", "content", {1: SERVICE, 2: "content"}),
    ("ip_attribution", "missing_attribution", "content", {1: SERVICE, 2: "content"}),
    ("ip_attribution", "false_positive", "legal", {3: "legal"}),
    ("ip_attribution", "rights_holder_claim", "legal", {3: "legal"}),
    ("safety", "crisis_detection", "safety", {0: "child_safety_agent"}),
    ("safety", "coppa_compliance", "safety", {1: "safety", 2: "legal_compliance"}),
    ("safety", "content_moderation", "safety", {1: "safety", 2: "legal_compliance"}),
    ("safety", None, "safety", {1: "safety"}),
)
SAFE = tuple(place for place in PLACES if place[0] == "safety")
UNSAFE = tuple(place for place in PLACES if place[0] != "safety")


PLAIN = [(time(9), time(17))]
HOURS = (
    PLAIN,
    PLAIN,
    [(time(9), time(12)), (time(13), time(17))],
    [(time(8, 15), time(9, 45)), (time(10), time(10, 1)), (time(16), time(20))],
    [(time(22), time(6))],
    [(time(9), time(17)), (time(20), time(5))],
    [(time(8), time(23, 59, 59, 999999))],
    [],
)
HOURS_IN_A_CHANGE = (
    [(time(2, 30), time(10))],
    [(time(22), time(2, 30))],
    [(time(0, 30), time(1, 30)), (time(2), time(3))],
    [(time(0), time(0))],
)


def random_calendar(rng: Random, about: date) -> dict:
    usual, choices = PLAIN, HOURS
    if rng.random() < ODD_HOURS:
        usual = rng.choice(HOURS_IN_A_CHANGE)
        choices = (usual, usual, usual, [])  # nights of one kind do not overlap
    if rng.random() < 0.4:
        hours = dict.fromkeys(oracle.WEEKDAYS[:5], usual)
    else:
        hours = {day: rng.choice(choices) for day in oracle.WEEKDAYS}
        hours[rng.choice(oracle.WEEKDAYS)] = usual  # never without business time
    nearby = [about + timedelta(days=n) for n in range(-3, 20)]
    closed = set(rng.sample(nearby, rng.choice((0, 0, 1, 2, 5))))
    special = {day: rng.choice(choices) for day in rng.sample(nearby, rng.choice((0, 0, 1, 2))) if day not in closed}
    nominal = rng.choice(
        (timedelta(hours=8), timedelta(hours=8), timedelta(hours=7), timedelta(hours=7, minutes=30), timedelta(hours=1))
    )
    return {
        "zone": rng.choice(rng.choice((ODD_ZONES, ALL_ZONES))),
        "opening_hours": hours,
        "closed_days": closed,
        "special_days": special,
        "nominal_day": nominal,
    }


def random_target(rng: Random, *, elapsed: bool) -> Target:
    if elapsed:
        return rng.choice(
            (Target(rng.choice((1, 5, 59, 90)), "minutes"), Target(rng.choice((1, 4, 12, 24, 48)), "hours"))
        )
    return rng.choice((Target(0, "same_day"), Target(0, "next_business_day"), *(Target(n, D) for n in (1, 2, 3, 5))))


def random_promises(rng: Random, share: float, *, mixed: bool) -> dict[str, Target]:
    return {
        milestone: random_target(rng, elapsed=rng.random() < (0.5 if mixed else milestone not in oracle.PAUSING))
        for milestone in MILESTONES
        if rng.random() < share
    }


def random_rules(rng: Random, about: date) -> Rules:
    targets, overlays = SEED_TARGETS, SEED_OVERLAYS
    if rng.random() < 0.5:
        mixed = rng.random() < MIXED_UNITS
        targets = {tier: random_promises(rng, 0.8, mixed=mixed) for tier in TIERS}
        overlays = {place[1]: random_promises(rng, 0.5, mixed=mixed) for place in PLACES if place[1]}
        for _, subcategory, *_ in SAFE:  # elapsed time, L6
            if "initial_response" in overlays.get(subcategory, {}):
                overlays[subcategory]["initial_response"] = random_target(rng, elapsed=True)
    return Rules(targets=targets, overlays=overlays, **random_calendar(rng, about))


def random_instant(rng: Random, created_at: datetime, facts: list, rules: Rules) -> datetime:
    """Somewhere after creation, mostly at or a microsecond beside an instant that matters."""
    counting = oracle.Counting(rules)
    span = rng.choice((timedelta(minutes=90), timedelta(days=1), timedelta(days=4), timedelta(days=14)))
    somewhere = created_at + span * rng.random()
    match rng.randrange(6):
        case 0:
            return somewhere
        case 1:  # edges of opening hours
            day = somewhere.astimezone(ZoneInfo(rules.zone)).date()
            edges = [
                edge for n in (-1, 0, 1) for window in counting.windows(day + timedelta(days=n)) for edge in window
            ] or [somewhere]
        case 2:  # due times of the case as it stands now
            seen = oracle.outcomes(created_at, facts, rules, somewhere)
            edges = [outcome.due_at for outcome in seen.values()] or [somewhere]
        case 3:  # the same instant as another fact, or close to it
            edges = [fact.at + timedelta(seconds=rng.choice((0, 0, 1, 60))) for fact in facts] or [created_at]
        case 4:  # the end of the time in which a ticket may be reopened
            edges = [fact.at + rules.reopen_within for fact in facts if isinstance(fact, oracle.Resolved)] or [
                somewhere
            ]
        case _:
            edges = [somewhere.replace(second=0, microsecond=0)]
    return rng.choice(edges) + rng.choice((0, 0, 0, -1, 1)) * MICRO


def random_routed(
    rng: Random, at: datetime, name: str, facts: list, places: tuple | None = None, rise: bool | None = None
) -> oracle.Routed:
    before = [fact for fact in facts if isinstance(fact, oracle.Routed) and fact.at <= at]
    last = max(before, key=lambda fact: fact.at) if before else None
    within = last is not None and last.category == "safety" and rng.random() < 0.5
    category, subcategory, owning, levels = rng.choice(places or (SAFE if within else PLACES))
    level = rng.choice(list(levels))
    if last and not places and rng.random() < 0.4:  # same ticket, another level
        category, subcategory, owning = last.category, last.subcategory, last.owning_team
        levels = {level: rng.choice((SERVICE, "technical_support", "engineering", "legal"))}
    rise = rng.random() < 0.5 if rise is None else rise
    return oracle.Routed(at, name, rng.choice(TIERS), subcategory, category, levels[level], owning, level, rise)


def random_scene(rng: Random, at: datetime, name: str, facts: list) -> list:
    """A few facts that belong together, the first one at `at`."""
    reach = rng.choice((timedelta(minutes=30), timedelta(days=1), timedelta(days=9)))
    times = [at, *sorted(at + rng.choice((0, 1, 1, 1)) * reach * rng.random() for _ in range(3))]
    names = [f"{name}{letter}" for letter in "abcd"]
    end = rng.choice((oracle.Resolved, oracle.Resolved, oracle.Closed))(times[1], names[1])
    reopening = rng.choice((oracle.CustomerWrote, oracle.Reopened))
    match rng.randrange(5):
        case 0:  # tier facts at the same instant as a decision
            decided = rng.choice([fact.at for fact in facts if isinstance(fact, oracle.Routed)])
            return [oracle.TierChanged(decided, name, rng.choice(TIERS)) for name in names[: rng.choice((1, 1, 2))]]
        case 1:  # changes within safety
            return [random_routed(rng, time, name, facts, SAFE) for time, name in zip(times, names, strict=True)]
        case 2:  # a rise on a resolved ticket
            return [
                oracle.Resolved(at, names[0]),
                random_routed(rng, times[1], names[1], facts, UNSAFE, rise=True),
                rng.choice((oracle.Waiting, oracle.Acknowledged))(times[2], names[2]),
                reopening(times[3], names[3]),
            ]
        case 3:  # a cry on a resolved or closed ticket
            return [
                random_routed(rng, at, names[0], facts, UNSAFE),
                end,
                random_routed(rng, times[2], names[2], facts, SAFE),
            ]
        case _:  # other promises while paused
            change = rng.choice(
                (
                    oracle.TierChanged(times[1], names[1], rng.choice(TIERS)),
                    random_routed(rng, times[1], names[1], facts, UNSAFE),
                )
            )
            return [oracle.Waiting(at, names[0]), change, oracle.CustomerWrote(times[3], names[3])]


def random_fact(rng: Random, at: datetime, name: str, facts: list):
    kind = rng.choices(
        (
            oracle.Routed,
            oracle.TierChanged,
            oracle.Acknowledged,
            oracle.Replied,
            oracle.Resolved,
            oracle.Waiting,
            oracle.Continued,
            oracle.CustomerWrote,
            oracle.Reopened,
            oracle.Closed,
            oracle.Restricted,
        ),
        (6, 5, 1, 3, 4, 6, 2, 4, 3, 0.4, 0.2),
    )[0]
    if kind is oracle.Routed:
        return random_routed(rng, at, name, facts)
    if kind is oracle.TierChanged:
        return oracle.TierChanged(at, name, rng.choice(TIERS))
    if kind is oracle.Closed:
        return oracle.Closed(at, name, rng.choice(REASONS))
    return kind(at, name)


@lru_cache(maxsize=1)
def random_world(seed: int) -> tuple[date, Rules]:
    """Mostly around clock changes and year ends of 2026."""
    rng = Random(seed)
    about = rng.choice(
        (
            (3, 6),
            (3, 27),
            (4, 2),
            (4, 24),
            (9, 4),
            (10, 2),
            (10, 23),
            (10, 30),
            (12, 23),
            (rng.randint(1, 12), rng.randint(1, 28)),
        )
    )
    day = date(2026, *about)
    return day, random_rules(rng, day)


def random_case(rng: Random, day: date, rules: Rules) -> tuple[datetime, list, datetime]:
    created_at = datetime.combine(day, time(), UTC) + timedelta(
        days=rng.randint(0, 3), microseconds=rng.randrange(86_400_000_000)
    )
    if rng.random() < 0.6:  # at or beside an edge, or on a round minute
        created_at = random_instant(rng, created_at.replace(second=0, microsecond=0), [], rules)
    routed_at = created_at + rng.choice(
        (timedelta(0), timedelta(milliseconds=300), timedelta(seconds=59), timedelta(hours=2))
    )
    facts: list = [random_routed(rng, routed_at, "f00", [])]
    may_be_early = rng.random() < EARLY
    if may_be_early and rng.random() < 0.3:
        ended_at = created_at + (routed_at - created_at) * rng.random()
        facts.append(rng.choice((oracle.Closed, oracle.Resolved, oracle.Restricted))(ended_at, "f00e"))
    for n in range(1, rng.choice((2, 4, 6, 9, 14, 20))):
        at = random_instant(rng, created_at, facts, rules)
        if not may_be_early:
            at = max(at, routed_at)
        elif rng.random() < 0.1:
            at = created_at - timedelta(minutes=rng.randint(0, 5))
        if rng.random() < SCENES:
            facts += random_scene(rng, at, f"f{n:02}", facts)
        else:
            facts.append(random_fact(rng, at, f"f{n:02}", facts))
    now = max(random_instant(rng, created_at, facts, rules), created_at)
    if rng.random() < 0.7:
        now = max([now, *(fact.at for fact in facts)])
    rng.shuffle(facts)
    return created_at, [replace(fact, at=max(fact.at, created_at)) for fact in facts], now
