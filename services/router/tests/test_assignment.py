"""HD-58 to HD-60: who of a team takes which ticket, by rule and on a real database."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.app import SUBSCRIPTIONS, classifier_of
from router.domain.assignment import Waiting, assign, is_at_work
from router.domain.ticket import Ticket
from router.handlers.tickets import assign_to
from router.store import RoutedTickets, RoutingUnit
from router.timers import assign_waiting
from shared.events.envelope import SAFETY_BRIDGE
from shared.events.sla import SlaClockStarted, SlaCorrected, SlaMet, SlaPaused, SlaResumed, SlaRetargeted
from shared.events.ticket import (
    TicketCreated,
    TicketMessageAdded,
    TicketReopened,
    TicketResolved,
    TicketRestricted,
    TicketSignalsAdded,
    TicketStatusChanged,
)
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.load import load_policy
from shared.policy.model import Member, Policy, WorkingHours
from shared.testing.builders import AT, ticket_data, wire
from shared.testing.time import FakeNow
from shared.vocabulary import Milestone, Team, TicketId

NEVER = WorkingHours(zone="UTC", opening_hours={})
LOGIN = {"category": "account", "subcategory": "login"}


def hours(zone: str, **opening_hours: list[str]) -> WorkingHours:
    return WorkingHours.model_validate({"zone": zone, "opening_hours": opening_hours})


def waiting(name: str, due: float | None = None, created: float = 0) -> Waiting:
    """Due and created so many hours from now."""
    due_at = None if due is None else AT + timedelta(hours=due)
    return Waiting(TicketId(name), due_at, AT + timedelta(hours=created))


def takers(tickets: list[Waiting], members: list[Member], **loads: int) -> list[tuple[str, str]]:
    return [(one.ticket_id, one.member) for one in assign(tickets, members, loads, AT)]


class TestWhoTakesIt:
    def test_the_least_loaded(self) -> None:
        """HD-58."""
        members = [Member(id="x", capacity=3), Member(id="y", capacity=3)]
        assert takers([waiting("T-1")], members, x=2, y=1) == [("T-1", "y")]

    def test_of_two_equally_loaded_the_one_with_more_room(self) -> None:
        """HD-58."""
        members = [Member(id="x", capacity=2), Member(id="y", capacity=3)]
        assert takers([waiting("T-1")], members, x=1, y=1) == [("T-1", "y")]

    def test_of_two_alike_the_one_named_first(self) -> None:
        """HD-58: the same tickets and the same people always give the same answer."""
        members = [Member(id="y", capacity=3), Member(id="x", capacity=3)]
        assert takers([waiting("T-1")], members) == [("T-1", "y")]

    def test_each_one_counts_for_the_next(self) -> None:
        """HD-58: tickets that come at once are spread."""
        members = [Member(id="x", capacity=3), Member(id="y", capacity=3)]
        tickets = [waiting(f"T-{number}", due=number) for number in range(4)]
        assert takers(tickets, members, x=1) == [("T-0", "y"), ("T-1", "x"), ("T-2", "y"), ("T-3", "x")]

    def test_nobody_beyond_capacity(self) -> None:
        """HD-59: two places, three tickets."""
        members = [Member(id="x", capacity=3), Member(id="y", capacity=1)]
        assert [name for name, _ in takers([waiting(f"T-{n}", n) for n in range(3)], members, x=2)] == ["T-0", "T-1"]

    def test_nobody_who_is_not_there(self) -> None:
        """HD-58: however little they have."""
        members = [Member(id="x", capacity=9, works=NEVER), Member(id="y", capacity=3)]
        assert takers([waiting("T-1")], members, y=2) == [("T-1", "y")]

    def test_nobody_where_there_are_no_members(self) -> None:
        """R1: the ticket goes to the team."""
        assert takers([waiting("T-1")], []) == []


class TestWhichIsTaken:
    @pytest.mark.parametrize(
        ("tickets", "first"),
        [
            ([waiting("T-1", 5), waiting("T-2", 2), waiting("T-3", 3)], "T-2"),
            ([waiting("T-1"), waiting("T-2", 900)], "T-2"),
            ([waiting("T-1", 5, created=-1), waiting("T-2", 5, created=-2)], "T-2"),
            ([waiting("T-1", created=-1), waiting("T-2", created=-2)], "T-2"),
            ([waiting("T-2", 5), waiting("T-1", 5)], "T-1"),
            ([waiting("T-1", 1), waiting("T-2", -1)], "T-2"),
        ],
        ids=["due first", "no clock last", "created first", "no clock, created first", "by id", "overdue first"],
    )
    def test_the_earliest_due(self, tickets: list[Waiting], first: str) -> None:
        """HD-59: whatever the order in which they came."""
        assert takers(tickets, [Member(id="x", capacity=1)]) == [(first, "x")]


people = st.lists(
    st.builds(
        Member,
        id=st.sampled_from("abcdefg"),
        capacity=st.integers(0, 4),
        works=st.sampled_from([None, NEVER, hours("UTC", tuesday=["09:00-17:00"])]),
    ),
    unique_by=lambda member: member.id,
    max_size=5,
)
queues = st.lists(
    st.builds(
        waiting,
        st.integers(0, 99).map("T-{}".format),
        st.none() | st.integers(-5, 5).map(float),
        st.integers(-5, 0).map(float),
    ),
    unique_by=lambda ticket: ticket.ticket_id,
    max_size=12,
)
loads = st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 6))


class TestWhateverTheTeam:
    @given(people, queues, loads)
    def test_nobody_is_ever_above_capacity(self, members, tickets, carried) -> None:
        """HD-58: whoever is above it already takes nothing."""
        capacity = {member.id: member.capacity for member in members}
        taken = Counter(one.member for one in assign(tickets, members, carried, AT))
        assert all(carried.get(member, 0) + count <= capacity[member] for member, count in taken.items())

    @given(people, queues, loads)
    def test_nobody_absent_takes_anything(self, members, tickets, carried) -> None:
        """HD-58, HD-60."""
        present = {member.id for member in members if member.works is not NEVER}
        assert {one.member for one in assign(tickets, members, carried, AT)} <= present

    @given(people, queues, loads)
    def test_no_ticket_is_taken_twice(self, members, tickets, carried) -> None:
        """HD-58: and none that did not wait."""
        taken = [one.ticket_id for one in assign(tickets, members, carried, AT)]
        assert len(taken) == len(set(taken))
        assert set(taken) <= {ticket.ticket_id for ticket in tickets}

    @given(people, queues, loads)
    def test_no_earlier_due_waits_while_a_later_one_is_taken(self, members, tickets, carried) -> None:
        """HD-59: a ticket without a running clock is the latest."""
        taken = {one.ticket_id for one in assign(tickets, members, carried, AT)}
        due = {ticket.ticket_id: ticket.due_at or datetime.max.replace(tzinfo=UTC) for ticket in tickets}
        latest_taken = max((due[one] for one in taken), default=None)
        assert latest_taken is None or all(due[one] >= latest_taken for one in due.keys() - taken)

    @given(people, queues, loads)
    def test_nothing_waits_while_somebody_has_room(self, members, tickets, carried) -> None:
        """HD-59: what is left, is left because all who are there are full."""
        found = assign(tickets, members, carried, AT)
        taken = Counter(one.member for one in found)
        room = [
            one for one in members if one.works is not NEVER and carried.get(one.id, 0) + taken[one.id] < one.capacity
        ]
        assert len(found) == len(tickets) or room == []


def at_work(works: WorkingHours | None, instant: str) -> bool:
    return is_at_work(Member(id="x", capacity=1, works=works), datetime.fromisoformat(instant))


class TestWorkingHours:
    def test_none_are_always(self) -> None:
        """R1: a member without hours is there day and night."""
        assert at_work(None, "2026-03-01T03:00:00Z")

    @pytest.mark.parametrize(
        ("instant", "expected"),
        [
            ("2026-03-03T08:59:59.999999Z", False),
            ("2026-03-03T09:00:00Z", True),
            ("2026-03-03T11:59:59.999999Z", True),
            ("2026-03-03T12:00:00Z", False),
            ("2026-03-03T13:00:00Z", True),
            ("2026-03-03T17:00:00Z", False),
            ("2026-03-04T10:00:00Z", False),
        ],
    )
    def test_are_half_open(self, instant: str, expected: bool) -> None:
        """L3: there at the opening, gone at the close; several windows a day, and none on other days."""
        assert at_work(hours("UTC", tuesday=["09:00-12:00", "13:00-17:00"]), instant) is expected

    @pytest.mark.parametrize(
        ("zone", "expected"), [("America/New_York", False), ("Europe/Berlin", True), ("Asia/Tokyo", False)]
    )
    def test_are_those_of_the_members_own_zone(self, zone: str, expected: bool) -> None:
        """HD-60: at 13:00 UTC it is 08:00 in New York, 14:00 in Berlin, 22:00 in Tokyo."""
        assert at_work(hours(zone, tuesday=["09:00-17:00"]), "2026-03-03T13:00:00Z") is expected

    def test_take_the_weekday_of_that_zone_too(self) -> None:
        """HD-60: Tuesday 20:00 UTC is Wednesday 05:00 in Tokyo."""
        assert at_work(hours("Asia/Tokyo", wednesday=["05:00-06:00"]), "2026-03-03T20:00:00Z")
        assert not at_work(hours("Asia/Tokyo", tuesday=["05:00-06:00"]), "2026-03-03T20:00:00Z")

    @pytest.mark.parametrize(
        ("instant", "expected"),
        [
            ("2026-03-06T03:00:00Z", False),
            ("2026-03-06T21:59:59Z", False),
            ("2026-03-06T22:00:00Z", True),
            ("2026-03-07T00:00:00Z", True),
            ("2026-03-07T05:59:59.999999Z", True),
            ("2026-03-07T06:00:00Z", False),
            ("2026-03-07T23:00:00Z", False),
        ],
    )
    def test_may_run_over_midnight(self, instant: str, expected: bool) -> None:
        """L3: from Friday 22:00 to Saturday 06:00; Friday's early morning is Thursday's night."""
        assert at_work(hours("UTC", friday=["22:00-06:00"]), instant) is expected

    def test_may_be_the_whole_day(self) -> None:
        """L3: 00:00-24:00 ends with its day."""
        tuesday = hours("UTC", tuesday=["00:00-24:00"])
        times = ("2026-03-02T23:59:59Z", "2026-03-03T00:00:00Z", "2026-03-03T23:59:59Z", "2026-03-04T00:00:00Z")
        assert [at_work(tuesday, time) for time in times] == [False, True, True, False]

    @pytest.mark.parametrize(
        ("instant", "expected"),
        [
            ("2026-10-24T19:59:59Z", False),
            ("2026-10-24T20:00:00Z", True),
            ("2026-10-25T00:30:00Z", True),
            ("2026-10-25T01:30:00Z", True),
            ("2026-10-25T04:59:59Z", True),
            ("2026-10-25T05:00:00Z", False),
        ],
    )
    def test_last_an_hour_longer_when_clocks_go_back(self, instant: str, expected: bool) -> None:
        """L3: in Berlin 02:30 comes twice that night, and 06:00 is an hour later."""
        assert at_work(hours("Europe/Berlin", saturday=["22:00-06:00"]), instant) is expected

    @pytest.mark.parametrize(
        ("instant", "expected"),
        [
            ("2026-03-29T00:59:59Z", False),
            ("2026-03-29T01:00:00Z", True),
            ("2026-03-29T01:29:59Z", True),
            ("2026-03-29T01:30:00Z", False),
        ],
    )
    def test_begin_behind_the_hour_that_is_left_out(self, instant: str, expected: bool) -> None:
        """L3: in Berlin 03:00 follows 01:59 that night; who begins at 02:30 is there at 03:00."""
        assert at_work(hours("Europe/Berlin", sunday=["02:30-03:30"]), instant) is expected


class Desk:
    """Customer service with members, on the service's database."""

    def __init__(self, service: Any) -> None:
        self.service = service
        self.now = FakeNow()

    def staff(self, *members: Member) -> None:
        """From here on these are the team."""
        classifier = classifier_of(with_members(load_policy(), *members))
        self.service.units = UnitsOfWork(
            self.service.database,
            lambda connection, at: RoutingUnit(connection, at, classifier),
            now=self.now,
            wake=lambda _: None,
        )

    async def open(self, *ticket_ids: str, **data: Any) -> None:
        facts = [ticket_data("created", ticket_id, **LOGIN | data) for ticket_id in ticket_ids]
        await self.service.handle(*(wire(TicketCreated, fact) for fact in facts))

    async def happens(self, event_class: Any, ticket_id: str = "T-1", **data: Any) -> None:
        fact = event_class.wire_type.rsplit(".", 2)[1]
        message = wire(event_class, ticket_data(fact, ticket_id, **data), occurred_at=self.now())
        await self.service.handle(message)

    async def give(self, member: str, *ticket_ids: str) -> None:
        async with self.service.units.begin() as unit:
            await unit.load_tickets(ticket_ids)
            for ticket_id in ticket_ids:
                assign_to(unit.tickets.get(TicketId(ticket_id)), member, unit, seed=f"{ticket_id} given")

    async def due(self, **hours: float) -> None:
        """Resolution of these tickets is due in so many hours."""
        names = {f"T-{name[1:]}": AT + timedelta(hours=length) for name, length in hours.items()}
        await self.service.handle(*(clock(SlaClockStarted, name, due_at) for name, due_at in names.items()))

    async def look(self) -> dict[str, str]:
        """Who has which ticket after the next look."""
        await assign_waiting(self.service.units)
        return await self.assignees()

    async def assignees(self) -> dict[str, str]:
        rows = await self.service.rows("select ticket_id, assignee from ticket where assignee is not null order by 1")
        return {row["ticket_id"]: row["assignee"] for row in rows}

    async def ticket(self, ticket_id: str = "T-1") -> Ticket:
        found = await RoutedTickets(self.service.database).find(ticket_id)
        assert found is not None
        return found


def with_members(policy: Policy, *members: Member) -> Policy:
    routing = policy.routing.model_copy(update={"members": {Team.CUSTOMER_SERVICE: members} if members else {}})
    return policy.model_copy(update={"routing": routing})


def clock(
    event_class: Any,
    ticket_id: str,
    due_at: datetime,
    milestone: Milestone = Milestone.RESOLUTION,
    *,
    state: str = "running",
) -> Any:
    data = {
        "ticket_id": ticket_id,
        "occurred_at": AT,
        "emitted_at": AT,
        "clauses": ["L1"],
        "policy_version": "p",
        "milestone": milestone,
        "cycle": 1,
        "target": {"amount": 5, "unit": "business_days"},
        "started_at": AT,
        "due_at": due_at,
        "state": state,
        "elapsed_share": 0.0,
        "calendar": "c",
    }
    return wire(event_class, data)


@pytest.fixture
async def desk(service) -> Desk:
    return Desk(service)


async def test_a_ticket_that_waits_for_its_customer_is_no_load(desk: Desk) -> None:
    """HD-58: X and Y have two open tickets each, one of Y's is paused: Y takes the next, and then has room no more."""
    desk.staff(Member(id="X", capacity=3), Member(id="Y", capacity=3))
    await desk.open("T-1", "T-2", "T-3", "T-4")
    await desk.give("X", "T-1", "T-2")
    await desk.give("Y", "T-3", "T-4")
    await desk.happens(TicketStatusChanged, "T-4", status="pending_customer")
    await desk.open("T-5")
    assert (await desk.look())["T-5"] == "Y"


async def test_what_its_customer_answered_is_load_again(desk: Desk) -> None:
    """HD-58: the message ends the pause (L9), and Y has no room left."""
    desk.staff(Member(id="Y", capacity=1))
    await desk.open("T-1")
    await desk.look()
    await desk.happens(TicketStatusChanged, status="pending_customer")
    await desk.happens(TicketMessageAdded, author={"kind": "customer", "id": "u-1"}, body="Here it is.")
    await desk.open("T-2")
    assert await desk.look() == {"T-1": "Y"}


async def test_an_assignment_is_a_decision_that_replaces_the_one_before(desk: Desk) -> None:
    """R8, HD-58: team and level stay, the member is named."""
    desk.staff(Member(id="X", capacity=1))
    await desk.open("T-1")
    await desk.look()
    first, second = await RoutedTickets(desk.service.database).history("T-1")
    assert (second["decision_id"], second["replaces"], second["assignee"]) == ("T-1:2", "T-1:1", "X")
    own = {"decision_id", "replaces", "assignee", "occurred_at", "emitted_at"}
    assert {name: value for name, value in first.items() if name not in own} == {
        name: value for name, value in second.items() if name not in own
    }


async def test_looking_again_changes_nothing(desk: Desk) -> None:
    """HD-58: who has a ticket is not given it twice."""
    desk.staff(Member(id="X", capacity=3))
    await desk.open("T-1")
    await desk.look()
    before = await desk.ticket()
    await desk.look()
    assert await desk.ticket() == before


async def test_nobody_assigns_while_another_is_at_it(desk: Desk) -> None:
    """HD-58: a look that finds another one not yet committed gives nothing away; when that is over, it does."""
    desk.staff(Member(id="X", capacity=1))
    await desk.open("T-1", "T-2")
    async with desk.service.units.begin() as other:
        assert await other.alone()
        assert await desk.look() == {}
    assert len(await desk.look()) == 1


async def test_two_tickets_never_both_take_the_last_place(desk: Desk) -> None:
    """HD-58: one place, two tickets, many looks at once, again and again."""
    desk.staff(Member(id="X", capacity=1))
    await desk.open("T-1", "T-2")
    for _ in range(5):
        await asyncio.gather(*(assign_waiting(desk.service.units) for _ in range(3)))
    assert len(await desk.assignees()) == 1


@pytest.mark.parametrize(
    ("event_class", "data"),
    [(TicketSignalsAdded, {"signals": ["needs_code_fix"]}), (TicketResolved, {})],
    ids=["it rises to another team", "it is resolved"],
)
async def test_what_happens_to_a_ticket_meanwhile_comes_first(desk: Desk, event_class, data) -> None:
    """HD-58: a look that waited for the ticket's row sees that the ticket no longer waits for this team."""
    desk.staff(Member(id="X", capacity=1))
    await desk.open("T-1")
    fact = event_class.wire_type.rsplit(".", 2)[1]
    message = wire(event_class, ticket_data(fact, **data))
    async with desk.service.units.begin() as unit:
        await unit.load([message])
        unit.because_of(message)
        SUBSCRIPTIONS[event_class](message, unit)
        looking = asyncio.create_task(assign_waiting(desk.service.units))
        blocked = "select from pg_locks where not granted"
        async with asyncio.timeout(60):
            while not await desk.service.rows(blocked):
                await asyncio.sleep(0)
    await looking
    assert await desk.assignees() == {}


async def test_the_earliest_due_is_served_when_one_is_resolved(desk: Desk) -> None:
    """HD-59: all at capacity, three wait; the one that is due first is next, not the one that came first."""
    desk.staff(Member(id="X", capacity=1))
    await desk.open("T-0")
    await desk.look()
    await desk.open("T-1", "T-2", "T-3")
    await desk.due(T1=5, T2=2, T3=3)
    assert await desk.look() == {"T-0": "X"}
    await desk.happens(TicketResolved, "T-0")
    assert await desk.look() == {"T-0": "X", "T-2": "X"}


@pytest.mark.parametrize("event_class", [SlaMet, SlaPaused], ids=["met", "paused"])
async def test_a_clock_that_ended_urges_nobody(desk: Desk, event_class) -> None:
    """HD-59: the ticket that still has a running clock goes first."""
    desk.staff(Member(id="X", capacity=1))
    await desk.open("T-1", "T-2")
    await desk.due(T1=1, T2=9)
    await desk.service.handle(clock(event_class, "T-1", AT + timedelta(hours=1)))
    assert await desk.look() == {"T-2": "X"}


async def test_a_clock_that_goes_on_urges_again(desk: Desk) -> None:
    """HD-59: resumed with a later due (L9)."""
    desk.staff(Member(id="X", capacity=1))
    await desk.open("T-1", "T-2")
    await desk.due(T1=1, T2=9)
    await desk.service.handle(clock(SlaPaused, "T-1", AT + timedelta(hours=1)))
    await desk.service.handle(clock(SlaResumed, "T-1", AT + timedelta(hours=4)))
    assert await desk.look() == {"T-1": "X"}


@pytest.mark.parametrize(
    ("event_class", "state", "first"),
    [
        (SlaRetargeted, "running", "T-1"),
        (SlaRetargeted, "paused", "T-2"),
        (SlaResumed, "breached", "T-1"),
        (SlaCorrected, "running", "T-1"),
        (SlaCorrected, "breached", "T-1"),
        (SlaCorrected, "paused", "T-2"),
        (SlaCorrected, "met", "T-2"),
        (SlaCorrected, "cancelled", "T-2"),
    ],
)
async def test_how_a_clock_stands_decides_whether_it_urges(desk: Desk, event_class, state: str, first: str) -> None:
    """HD-59, HD-65: a running or missed promise does; what was corrected to be paused or ended does not (L9, L13)."""
    desk.staff(Member(id="X", capacity=1))
    await desk.open("T-1", "T-2")
    await desk.due(T1=1, T2=9)
    await desk.service.handle(clock(event_class, "T-1", AT + timedelta(hours=1), state=state))
    assert await desk.look() == {first: "X"}


async def test_the_milestone_that_is_due_first_counts(desk: Desk) -> None:
    """HD-59: of several promises the nearest (L7)."""
    desk.staff(Member(id="X", capacity=1))
    await desk.open("T-1", "T-2")
    await desk.due(T1=5, T2=9)
    await desk.service.handle(clock(SlaClockStarted, "T-2", AT + timedelta(hours=1), Milestone.INITIAL_RESPONSE))
    assert await desk.look() == {"T-2": "X"}


def day_shift(name: str, capacity: int = 3) -> Member:
    return Member(id=name, capacity=capacity, works=hours("UTC", tuesday=["09:00-16:00"]))


REOPENINGS: list[tuple[Any, dict[str, Any]]] = [
    (TicketReopened, {}),
    (TicketMessageAdded, {"author": {"kind": "customer", "id": "u-1"}, "body": "Here I am again."}),
]


async def resolved_by_x(desk: Desk) -> None:
    """T-1 went to X, the day shift, who resolved it; Y is there all day. Then it is evening."""
    desk.staff(day_shift("X"), Member(id="Y", capacity=3))
    await desk.open("T-1")
    assert await desk.look() == {"T-1": "X"}
    await desk.happens(TicketResolved)
    desk.now.advance(hours=2)


@pytest.mark.parametrize(("event_class", "data"), REOPENINGS, ids=["by a person", "by a message"])
async def test_reopened_off_hours_it_goes_to_somebody_who_is_there(desk: Desk, event_class, data) -> None:
    """HD-60: of the same team; the previous one watches (L12)."""
    await resolved_by_x(desk)
    await desk.happens(event_class, **data)
    assert await desk.look() == {"T-1": "Y"}
    assert ((await desk.ticket()).watchers, (await desk.ticket()).in_force.placement.team) == (
        ("X",),
        Team.CUSTOMER_SERVICE,
    )
    [*_, last] = await RoutedTickets(desk.service.database).history("T-1")
    assert (last["assignee"], last["watchers"]) == ("Y", ["X"])


@pytest.mark.parametrize(("event_class", "data"), REOPENINGS, ids=["by a person", "by a message"])
async def test_reopened_after_its_member_left_it_goes_to_another(desk: Desk, event_class, data) -> None:
    """HD-60."""
    await resolved_by_x(desk)
    desk.staff(Member(id="Y", capacity=3))
    await desk.happens(event_class, **data)
    assert (await desk.look(), (await desk.ticket()).watchers) == ({"T-1": "Y"}, ("X",))


@pytest.mark.parametrize(("event_class", "data"), REOPENINGS, ids=["by a person", "by a message"])
async def test_reopened_while_its_member_is_there_it_stays(desk: Desk, event_class, data) -> None:
    """HD-60: even where others have less to do."""
    await resolved_by_x(desk)
    desk.now.set(AT + timedelta(minutes=59))
    await desk.happens(event_class, **data)
    assert (await desk.look(), (await desk.ticket()).watchers) == ({"T-1": "X"}, ())


async def test_reopened_while_nobody_is_there_it_waits(desk: Desk) -> None:
    """HD-60: until somebody of the team is at work again; then whoever had it no longer only watches."""
    desk.staff(day_shift("X"))
    await desk.open("T-1")
    await desk.look()
    await desk.happens(TicketResolved)
    desk.now.advance(hours=2)
    await desk.happens(TicketReopened)
    assert await desk.look() == {}
    desk.now.set(AT + timedelta(days=7, hours=-1))
    assert (await desk.look(), (await desk.ticket()).watchers) == ({"T-1": "X"}, ())


async def test_open_tickets_of_a_member_who_left_go_to_another(desk: Desk) -> None:
    """HD-60."""
    desk.staff(Member(id="X", capacity=3))
    await desk.open("T-1")
    await desk.look()
    desk.staff(Member(id="Y", capacity=3))
    assert (await desk.look(), (await desk.ticket()).watchers) == ({"T-1": "Y"}, ("X",))


async def test_open_tickets_of_a_member_who_went_home_stay(desk: Desk) -> None:
    """HD-60 speaks of reopened ones only."""
    desk.staff(day_shift("X"), Member(id="Y", capacity=3))
    await desk.open("T-1")
    await desk.look()
    desk.now.advance(hours=5)
    assert await desk.look() == {"T-1": "X"}


async def test_a_ticket_that_rises_leaves_its_member(desk: Desk) -> None:
    """HD-58: another team has it, and the place is free."""
    desk.staff(Member(id="X", capacity=1))
    await desk.open("T-1")
    await desk.look()
    await desk.open("T-2")
    await desk.happens(TicketSignalsAdded, signals=["needs_code_fix"])
    assert await desk.look() == {"T-2": "X"}


async def test_without_members_nothing_is_assigned(desk: Desk) -> None:
    """R1: the policy that ships names none, tickets go to the team."""
    assert load_policy().routing.members == {}
    desk.staff()
    await desk.open("T-1")
    assert await desk.look() == {}
    assert (await desk.ticket()).in_force.number == 1


async def test_members_of_one_team_take_nothing_of_another(desk: Desk) -> None:
    """R1: engineering has named nobody."""
    desk.staff(Member(id="X", capacity=9))
    await desk.open("T-1", signals=["needs_code_fix"])
    assert await desk.look() == {}


async def test_a_restricted_ticket_is_nobodys_by_name(desk: Desk) -> None:
    """S9: nothing more is said of it."""
    desk.staff(Member(id="X", capacity=1))
    await desk.open("T-1")
    assert await desk.look() == {"T-1": "X"}
    await desk.service.handle(wire(TicketRestricted, ticket_data("restricted"), source=SAFETY_BRIDGE))
    restricted = await desk.ticket()
    assert (restricted.assignee, restricted.watchers) == (None, ())
    assert await desk.look() == {}
