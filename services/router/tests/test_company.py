"""What tickets have in common (E1, E2, E6, HD-51, HD-62). Every event is delivered twice (see `Router`)."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from router.domain.company import NAMED_AT_MOST, fingerprint
from router.handlers.tickets import SAFETY_BRIDGE
from router.store import RoutedTickets, RoutingUnit
from shared.events.routing import RoutingAssigned, RoutingEscalated
from shared.events.screening import SafetyScreeningRequested
from shared.events.ticket import (
    TicketClosed,
    TicketCreated,
    TicketMessageAdded,
    TicketReclassified,
    TicketResolved,
    TicketRestricted,
    TicketSignalsAdded,
)
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.model import Policy
from shared.testing.builders import AT, ticket_data, wire
from shared.testing.time import FakeNow
from shared.vocabulary import Hint

MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1)
IP = {"id": "ip-9"}
DISPUTE = {"category": "ip_attribution", "subcategory": "false_positive", "ip": IP}
QUESTION = {"category": "ip_attribution", "subcategory": "user_question", "ip": IP}
LOGIN = {"category": "account", "subcategory": "login"}
CRISIS = "I want to die"
CUSTOMER = {"kind": "customer", "id": "u-1"}


def raised(events: list[Any]) -> dict[str, tuple[str, str]]:
    """By ticket, the criterion and its origin; those that entered higher say it in their evidence."""
    return {event.ticket_id: (event.criterion, event.origin) for event in events if isinstance(event, RoutingEscalated)}


def opened(router, number: int, at: datetime = AT, *, by: int | None = None, **data: Any) -> list[Any]:
    """Ticket T-n of requester u-n."""
    requester = {"id": f"u-{number if by is None else by}"}
    return router.handle(TicketCreated, ticket_id=f"T-{number}", requester=requester, occurred_at=at, **data)


def only(events: list[Any]) -> RoutingAssigned:
    """Nobody but the new ticket itself is decided about."""
    [assigned] = events
    assert isinstance(assigned, RoutingAssigned)
    return assigned


class TestDuplicates:
    WORDS = {"subject": "Cannot log in", "body": "The app says that my password is wrong.", **LOGIN}

    def second(self, router, after: timedelta = timedelta(minutes=1), by: int = 1, **words: str) -> tuple[Any, ...]:
        """What the second ticket suggests."""
        opened(router, 1, **self.WORDS)
        return only(opened(router, 2, AT + after, by=by, **self.WORDS | words)).suggestions

    @pytest.mark.parametrize("after", [timedelta(), timedelta(minutes=1), timedelta(minutes=10)], ids=str)
    def test_the_same_words_within_ten_minutes_repeat_the_first(self, router, after: timedelta) -> None:
        """HD-62: of the same requester, ten minutes included."""
        [suggestion] = self.second(router, after)
        assert (suggestion.hint, suggestion.of) == (Hint.DUPLICATE, "T-1")

    @pytest.mark.parametrize(
        "after", [timedelta(minutes=10, microseconds=1), timedelta(minutes=10, seconds=1), DAY], ids=str
    )
    def test_later_they_do_not(self, router, after: timedelta) -> None:
        """HD-62."""
        assert self.second(router, after) == ()

    def test_another_requester_repeats_nothing(self, router) -> None:
        """HD-62."""
        assert self.second(router, by=2) == ()

    @pytest.mark.parametrize(
        "words", [{"subject": "Cannot sign in"}, {"body": "The app says that my name is wrong."}], ids=str
    )
    def test_other_words_repeat_nothing(self, router, words: dict[str, str]) -> None:
        """HD-62."""
        assert self.second(router, **words) == ()

    def test_case_spaces_and_punctuation_are_no_other_words(self, router) -> None:
        """HD-62."""
        body = "the app says:  that MY password is wrong!!"
        assert [suggestion.of for suggestion in self.second(router, body=body)] == ["T-1"]

    def test_the_third_repeats_the_first(self, router) -> None:
        """HD-62: all name the same one."""
        self.second(router)
        [suggestion] = only(opened(router, 3, AT + timedelta(minutes=2), by=1, **self.WORDS)).suggestions
        assert suggestion.of == "T-1"

    def test_the_first_hears_of_nothing(self, router) -> None:
        """HD-62: a suggestion is about the second alone, and closes neither."""
        self.second(router)
        assert (router.ticket().suggestions, router.ticket().in_force.number) == ((), 1)
        assert router.ticket("T-2").is_open

    def test_a_crisis_in_a_duplicate_goes_to_safety(self, router) -> None:
        """HD-62: it is routed and screened like the first (C4, R5, S6)."""
        opened(router, 1, body=CRISIS)
        screening, assigned = opened(router, 2, by=1, body=CRISIS)
        assert isinstance(screening, SafetyScreeningRequested)
        assert (assigned.team, assigned.level) == ("child_safety_agent", 0)
        assert [suggestion.of for suggestion in assigned.suggestions] == ["T-1"]

    def test_a_restricted_ticket_repeats_nothing(self, router) -> None:
        """HD-62, S9: and nothing repeats it."""
        router.handle(TicketCreated, source=SAFETY_BRIDGE, **self.WORDS)
        assert only(router.handle(TicketCreated, ticket_id="T-2", **self.WORDS)).suggestions == ()
        restricted = router.handle(TicketCreated, ticket_id="T-3", source=SAFETY_BRIDGE, **self.WORDS)
        assert only(restricted).suggestions == ()

    def test_what_is_kept_of_the_words_says_nothing(self) -> None:
        """HD-62: eight bytes, the same for the same words only."""
        assert len(fingerprint("Zebra", "zebra")) == 8
        assert fingerprint("Zebra", "Zebra!") == fingerprint("zebra", "ZEBRA") != fingerprint("zebra")


class TestDisputes:
    def test_two_raise_each_other(self, router) -> None:
        """HD-51, E2: legal review of both, each naming the other; the criterion comes from the state (E6)."""
        opened(router, 1, **DISPUTE)
        first, second = opened(router, 2, **DISPUTE)
        assert (first.ticket_id, first.criterion, first.origin) == ("T-1", "multiple_disputes", "state")
        assert (first.from_level, first.to_level, first.team, first.related) == (2, 3, "legal", ("T-2",))
        assert (second.ticket_id, second.level, second.team, second.related) == ("T-2", 3, "legal", ("T-1",))
        assert "state.multiple_disputes" in second.evidence
        assert "E2" in first.clauses
        assert "E2" in second.clauses

    def test_a_third_joins_quietly(self, router) -> None:
        """HD-51, E2: it names the others, which emit nothing and stay as they are."""
        opened(router, 1, **DISPUTE)
        opened(router, 2, **DISPUTE)
        before = router.ticket("T-1"), router.ticket("T-2")
        third = only(opened(router, 3, **DISPUTE))
        assert (third.level, third.team, third.related) == (3, "legal", ("T-1", "T-2"))
        assert (router.ticket("T-1"), router.ticket("T-2")) == before

    def test_as_many_as_the_policy_says_raise_all_of_them(self, router, policy: Policy) -> None:
        """E2: with three as the policy's number, two are not enough; each of the three names both others."""
        several = policy.escalation.same_ip.model_copy(update={"requesters": 3})
        escalation = policy.escalation.model_copy(update={"same_ip": several})
        router.unit.policy = policy.model_copy(update={"escalation": escalation})
        opened(router, 1, **DISPUTE)
        assert only(opened(router, 2, **DISPUTE)).level == 2
        related = {event.ticket_id: set(event.related) for event in opened(router, 3, **DISPUTE)}
        assert related == {"T-1": {"T-2", "T-3"}, "T-2": {"T-1", "T-3"}, "T-3": {"T-1", "T-2"}}

    def test_of_one_requester_are_one(self, router) -> None:
        """HD-51, E2."""
        opened(router, 1, **DISPUTE)
        assert only(opened(router, 2, by=1, **DISPUTE)).level == 2

    def test_of_one_requester_rise_together_when_another_comes(self, router) -> None:
        """E2: all of them."""
        opened(router, 1, **DISPUTE)
        opened(router, 2, by=1, **DISPUTE)
        events = opened(router, 3, **DISPUTE)
        assert set(raised(events)) == {"T-1", "T-2"}
        assert events[-1].related == ("T-1", "T-2")

    @pytest.mark.parametrize("ip", [{"id": "ip-8"}, None], ids=["another", "none"])
    def test_of_other_intellectual_property_have_nothing_in_common(self, router, ip) -> None:
        """E2: the same `ip.id` is meant."""
        opened(router, 1, **DISPUTE)
        assert only(opened(router, 2, **DISPUTE | {"ip": ip})).level == 2

    @pytest.mark.parametrize(("apart", "levels"), [(90 * DAY, (3, 3)), (90 * DAY + MICROSECOND, (2, 2))], ids=str)
    def test_count_for_ninety_days(self, router, apart: timedelta, levels: tuple[int, int]) -> None:
        """HD-51, E2: 90 days exactly do, a microsecond more does not."""
        opened(router, 1, AT - apart, **DISPUTE)
        opened(router, 2, AT, **DISPUTE)
        assert tuple(int(router.ticket(name).in_force.placement.level) for name in ("T-1", "T-2")) == levels

    @pytest.mark.parametrize(("apart", "level"), [(90 * DAY, 3), (90 * DAY + MICROSECOND, 2)], ids=str)
    def test_count_from_when_they_were_opened_not_from_when_they_arrive(self, router, apart, level: int) -> None:
        """E2, L13: the earlier one arrives last."""
        opened(router, 1, AT, **DISPUTE)
        opened(router, 2, AT - apart, **DISPUTE)
        assert {router.ticket(name).in_force.placement.level for name in ("T-1", "T-2")} == {level}

    def test_a_claim_is_one_too(self, router) -> None:
        """E2: a rights_holder_claim, which is with legal anyhow (R3), raises the earlier dispute."""
        opened(router, 1, **DISPUTE)
        events = opened(router, 2, category="ip_attribution", subcategory="rights_holder_claim", ip=IP)
        assert raised(events) == {"T-1": ("multiple_disputes", "state")}
        assert events[-1].related == ("T-1",)

    def test_a_question_is_none(self, router) -> None:
        """HD-51, E2: nor are two."""
        opened(router, 1, **DISPUTE)
        assert only(opened(router, 2, **QUESTION)).level == 1
        assert only(opened(router, 3, **QUESTION)).level == 1

    @pytest.mark.parametrize(
        ("event_class", "data"),
        [
            (TicketSignalsAdded, {"signals": ["legal_dispute"]}),
            (TicketReclassified, {"category": "ip_attribution", "subcategory": "false_positive"}),
            (TicketReclassified, {"category": "ip_attribution", "subcategory": "rights_holder_claim"}),
        ],
        ids=["legal_dispute", "false_positive", "rights_holder_claim"],
    )
    def test_a_question_becomes_one(self, router, event_class, data) -> None:
        """HD-51, E2: by a signal or a reclassification, however much later; both rise then, each naming the other."""
        opened(router, 1, **DISPUTE)
        opened(router, 2, **QUESTION)
        events = router.handle(event_class, ticket_id="T-2", occurred_at=AT + 5 * DAY, **data)
        assert raised(events)["T-1"] == ("multiple_disputes", "state")
        assert {event.ticket_id: event.related for event in events} == {"T-1": ("T-2",), "T-2": ("T-1",)}
        assert router.ticket("T-2").in_force.placement.team == "legal"

    def test_what_is_no_dispute_any_more_raises_nobody(self, router) -> None:
        """E2, R9: a person says that it was a question."""
        opened(router, 1, **DISPUTE)
        router.handle(TicketReclassified, category="ip_attribution", subcategory="user_question")
        assert only(opened(router, 2, **DISPUTE)).level == 2

    @pytest.mark.parametrize("event_class", [TicketResolved, TicketClosed])
    def test_a_finished_one_counts_and_is_left_alone(self, router, event_class) -> None:
        """E2: the new one is the second dispute; nobody works on the first."""
        opened(router, 1, **DISPUTE)
        router.handle(event_class)
        second = only(opened(router, 2, **DISPUTE))
        assert (second.level, second.related) == (3, ("T-1",))
        assert router.ticket().in_force.number == 1

    def test_a_redelivery_changes_nothing(self, router) -> None:
        """HD-51: of any of them, in any order; each rose once."""
        messages = [
            wire(TicketCreated, ticket_data("created", f"T-{n}", requester={"id": f"u-{n}"}, **DISPUTE))
            for n in (1, 2, 3)
        ]
        for message in messages:
            router._deliver(message)
        before = [router.ticket(f"T-{n}") for n in (1, 2, 3)]
        assert [router._deliver(message) for message in (*messages, *reversed(messages))] == [[]] * 6
        assert [router.ticket(f"T-{n}") for n in (1, 2, 3)] == before
        assert [ticket.in_force.number for ticket in before] == [2, 1, 1]

    def test_all_rise_and_twenty_are_named(self, router) -> None:
        """E2: thirty of one requester rise with the first of another; each decision names at most twenty."""
        for number in range(1, 31):
            router.handle(TicketCreated, ticket_id=f"T-{number}", requester={"id": "u-1"}, **DISPUTE)
        raised = router.handle(TicketCreated, ticket_id="T-31", requester={"id": "u-2"}, **DISPUTE)
        assert len(raised) == 31
        assert max(len(event.related) for event in raised) == NAMED_AT_MOST

    def test_one_that_was_restricted_since_does_not_count(self, router) -> None:
        """S9: nothing more is said of it, and it is named by nobody."""
        router.handle(TicketCreated, ticket_id="T-1", requester={"id": "u-1"}, **DISPUTE)
        router.handle(TicketRestricted, ticket_id="T-1", source=SAFETY_BRIDGE)
        [assigned] = router.handle(TicketCreated, ticket_id="T-2", requester={"id": "u-2"}, **DISPUTE)
        assert (assigned.level, assigned.related) == (2, ())


class TestRestricted:
    """S9: on the general topics a restricted ticket has nothing in common with any other."""

    def test_one_of_the_bridge_raises_nobody(self, router) -> None:
        """HD-51, S9."""
        opened(router, 1, **DISPUTE)
        restricted = router.handle(
            TicketCreated, ticket_id="T-2", source=SAFETY_BRIDGE, requester={"id": "u-2"}, **DISPUTE
        )
        assert only(restricted).related == ()

    def test_one_of_the_bridge_is_never_raised(self, router) -> None:
        """HD-51, S9."""
        router.handle(TicketCreated, source=SAFETY_BRIDGE, requester={"id": "u-1"}, **DISPUTE)
        assert only(opened(router, 2, **DISPUTE)).level == 2

    def test_one_that_is_marked_later_counts_no_longer(self, router) -> None:
        """HD-51, S9."""
        opened(router, 1, **DISPUTE)
        router.handle(TicketRestricted, source=SAFETY_BRIDGE)
        assert only(opened(router, 2, **DISPUTE)).level == 2

    def test_one_that_is_marked_forgets_whom_it_was_seen_with(self, router) -> None:
        """HD-51, S9."""
        opened(router, 1, **DISPUTE)
        opened(router, 2, **DISPUTE)
        [assigned] = router.handle(TicketRestricted, source=SAFETY_BRIDGE)
        assert (assigned.related, router.ticket().related) == ((), ())


class TestTheSameTrouble:
    STORY = {
        "subject": "Story failed",
        "body": "The story generation fails with an error.",
        "category": "technical",
        "subcategory": "story_generation",
    }

    def five(self, router, last: timedelta = timedelta(minutes=4), **data: Any) -> list[Any]:
        """Five requesters, a minute apart, the last of them so long after the first."""
        for number in range(1, 5):
            only(opened(router, number, AT + timedelta(minutes=number - 1), **self.STORY | data))
        return opened(router, 5, AT + last, **self.STORY | data)

    def test_of_five_requesters_raises_all_of_them(self, router) -> None:
        """E6: affects_many_or_stability, from the state; each names the others, engineering has them (E1)."""
        *four, fifth = self.five(router)
        everybody = {f"T-{number}" for number in range(1, 6)}
        assert raised(four) == dict.fromkeys(everybody - {"T-5"}, ("affects_many_or_stability", "state"))
        assert "state.affects_many_or_stability" in fifth.evidence
        assert {(router.ticket(name).in_force.placement.team) for name in everybody} == {"engineering"}
        assert all(set(event.related) == everybody - {event.ticket_id} for event in (*four, fifth))

    def test_further_ones_join_quietly(self, router) -> None:
        """E6."""
        self.five(router)
        sixth = only(opened(router, 6, AT + timedelta(minutes=5), **self.STORY))
        assert (sixth.level, sixth.team, len(sixth.related)) == (3, "engineering", 5)

    @pytest.mark.parametrize(
        ("last", "level"), [(timedelta(minutes=60), 3), (timedelta(minutes=60) + MICROSECOND, 1)], ids=str
    )
    def test_counts_for_an_hour(self, router, last: timedelta, level: int) -> None:
        """E6: an hour exactly does, a microsecond more does not."""
        assert self.five(router, last)[-1].level == level

    def test_of_four_requesters_is_none_of_many(self, router, policy: Policy) -> None:
        """E6: the fifth ticket is of somebody who wrote before."""
        for number in range(1, 5):
            opened(router, number, **self.STORY)
        assert only(opened(router, 5, by=1, **self.STORY)).level == 1

    def test_in_other_words_is_another(self, router) -> None:
        """E6: the same category alone is not the same trouble."""
        for number in range(1, 5):
            opened(router, number, **self.STORY)
        other = {"subject": "Alexa", "body": "Alexa does not connect to the skill any more."}
        assert only(opened(router, 5, category="technical", subcategory="platform_integration", **other)).level == 1

    def test_in_words_that_differ_a_little_is_the_same(self, router) -> None:
        """E6: people do not copy each other's words."""
        for number in range(1, 5):
            opened(router, number, **self.STORY)
        words = {"subject": "Help", "body": "Again the story generation fails, what is this error?"}
        assert set(raised(opened(router, 5, **self.STORY | words))) == {"T-1", "T-2", "T-3", "T-4"}

    def test_is_looked_for_in_technical_and_account_tickets_only(self, router) -> None:
        """E6, E0: in the other rows there is no such criterion."""
        assert only(self.five(router, category="billing", subcategory="invoice_question")).level == 1

    def test_of_account_tickets_counts_like_that_of_technical_ones(self, router) -> None:
        """E6, E8."""
        words = {"subject": "Login", "body": "I cannot log in, my password is refused.", **LOGIN}
        assert set(raised(self.five(router, **words))) == {"T-1", "T-2", "T-3", "T-4"}


class TestStillNotWorking:
    STILL = "It still does not work"

    def reply(self, router, minute: int, **data: Any) -> None:
        """An agent's public answer, unless `data` says otherwise."""
        assert router.handle(TicketMessageAdded, occurred_at=AT + timedelta(minutes=minute), **data) == []

    def says(self, router, body: str = STILL, minute: int = 30) -> list[Any]:
        return router.handle(TicketMessageAdded, author=CUSTOMER, body=body, occurred_at=AT + timedelta(minutes=minute))

    @pytest.mark.parametrize(
        "body",
        [STILL, "Es funktioniert immer noch nicht", "Sigue sin funcionar", "Ça ne marche toujours pas"],
        ids=["en", "de", "es", "fr"],
    )
    def test_after_two_replies_the_trouble_persists(self, router, body: str) -> None:
        """E1: the ticket rises to Level 2; the criterion comes from the state (E6)."""
        router.handle(TicketCreated, **LOGIN)
        self.reply(router, 1)
        self.reply(router, 2)
        events = self.says(router, body)
        assert raised(events) == {"T-1": ("persists_after_level_1", "state")}
        assert (events[0].to_level, events[0].team) == (2, "technical_support")

    def test_it_is_said_once(self, router) -> None:
        """E1, R8."""
        router.handle(TicketCreated, **LOGIN)
        self.reply(router, 1)
        self.reply(router, 2)
        self.says(router)
        assert self.says(router, minute=40) == []

    @pytest.mark.parametrize("replies", [0, 1])
    def test_before_that_many_replies_it_does_not(self, router, replies: int) -> None:
        """E1: nothing was tried yet; the replies that come then are counted on."""
        router.handle(TicketCreated, **LOGIN)
        for minute in range(replies):
            self.reply(router, 1 + minute)
        assert self.says(router) == []

    def test_a_ticket_that_begins_with_these_words_does_not(self, router) -> None:
        """E1: its text alone decides nothing."""
        [assigned] = router.handle(TicketCreated, body=self.STILL, **LOGIN)
        assert assigned.level == 1

    @pytest.mark.parametrize(
        "body",
        ["Thanks, works now", "Danke, jetzt geht es", "Gracias, ya funciona", "Merci, ça marche maintenant"],
        ids=["en", "de", "es", "fr"],
    )
    def test_who_is_content_has_no_trouble(self, router, body: str) -> None:
        """E1."""
        router.handle(TicketCreated, **LOGIN)
        self.reply(router, 1)
        self.reply(router, 2)
        assert self.says(router, body) == []

    @pytest.mark.parametrize(
        "data",
        [{"public": False}, {"automated": True}, {"author": {"kind": "system", "id": "bot"}}],
        ids=["an internal note", "an automatic reply", "a system's"],
    )
    def test_what_nobody_wrote_to_the_customer_is_no_reply(self, router, data) -> None:
        """E1, L8."""
        router.handle(TicketCreated, **LOGIN)
        self.reply(router, 1)
        self.reply(router, 2, **data)
        assert self.says(router) == []

    def test_replies_of_higher_levels_are_none_of_level_1(self, router) -> None:
        """E1: what Level 2 tried is not counted."""
        router.handle(TicketCreated, signals=["needs_advanced_knowledge"], **LOGIN)
        self.reply(router, 1)
        self.reply(router, 2)
        assert self.says(router) == []
        assert router.ticket().replies == 0

    def test_in_a_category_without_that_row_nothing_rises(self, router) -> None:
        """E0: the criterion stands in the rows of technical and account."""
        router.handle(TicketCreated, category="billing", subcategory="invoice_question")
        self.reply(router, 1)
        self.reply(router, 2)
        assert self.says(router) == []


class TestHighProfile:
    LISTED = frozenset({"ip-9", "Moana", "Walt Disney"})

    @pytest.fixture
    def listing(self, router, policy: Policy):
        """A router whose policy lists some."""
        escalation = policy.escalation.model_copy(update={"high_profile_ips": self.LISTED})
        router.unit.policy = policy.model_copy(update={"escalation": escalation})
        return router

    @pytest.mark.parametrize(
        "ip",
        [
            {"id": "ip-9"},
            {"id": "IP-9"},
            {"id": "ip-1", "character": "MOANA"},
            {"id": "ip-1", "owner": "walt disney"},
            {"id": "ip-9", "high_profile": False},
        ],
        ids=str,
    )
    def test_one_of_the_policys_list_is_reviewed_by_legal(self, listing, ip) -> None:
        """E2, E6: by id, character or owner in any case of letters; the state says so, not the event."""
        assigned = only(opened(listing, 1, **QUESTION | {"ip": ip}))
        assert (assigned.team, assigned.level) == ("legal", 3)
        assert "state.high_profile_ip" in assigned.evidence

    @pytest.mark.parametrize(
        "ip", [{"id": "ip-1"}, {"id": "ip-1", "character": "Moana's boat", "owner": "Disney"}, None], ids=str
    )
    def test_any_other_is_not(self, listing, ip) -> None:
        """E2: whole names count."""
        assert only(opened(listing, 1, **QUESTION | {"ip": ip})).level == 1

    def test_the_list_that_ships_is_empty(self, router, policy: Policy) -> None:
        """E2: the policy has to name them."""
        assert policy.escalation.high_profile_ips == frozenset()
        assert only(opened(router, 1, **QUESTION)).level == 1


def created(number: int, at: datetime = AT, *, by: int | None = None, **data: Any) -> Any:
    requester = {"id": f"u-{number if by is None else by}"}
    return wire(TicketCreated, ticket_data("created", f"T-{number}", requester=requester, **data), occurred_at=at)


async def stands(service: Any, number: int) -> tuple[int, int, tuple[str, ...]]:
    """Level, number of decisions, and related tickets."""
    ticket = await RoutedTickets(service.database).find(f"T-{number}")
    return int(ticket.in_force.placement.level), ticket.in_force.number, ticket.related


class TestOnARealDatabase:
    @pytest.mark.parametrize("batches", [[[1, 2]], [[1], [2]]], ids=["one batch", "two batches"])
    async def test_disputes_find_each_other(self, service, batches: list[list[int]]) -> None:
        """HD-51, E2: the outcome does not depend on how the events were read."""
        for batch in batches:
            await service.handle(*(created(number, **DISPUTE) for number in batch))
        assert [await stands(service, 1), await stands(service, 2)] == [(3, 2, ("T-2",)), (3, 1, ("T-1",))]

    async def test_disputes_that_come_at_once_find_each_other(self, service) -> None:
        """HD-51, E2: two batches in two transactions at the same moment."""
        await asyncio.gather(*(service.handle(created(number, **DISPUTE)) for number in (1, 2)))
        found = [await stands(service, 1), await stands(service, 2)]
        assert [(level, related) for level, _, related in found] == [(3, ("T-2",)), (3, ("T-1",))]
        assert sorted(number for _, number, _ in found) == [1, 2]

    async def test_a_third_joins_quietly(self, service) -> None:
        """HD-51, E2: in a batch of its own; the earlier two have no decision more."""
        await service.handle(created(1, **DISPUTE), created(2, **DISPUTE))
        await service.handle(created(3, **DISPUTE))
        assert [await stands(service, number) for number in (1, 2, 3)] == [
            (3, 2, ("T-2",)),
            (3, 1, ("T-1",)),
            (3, 1, ("T-1", "T-2")),
        ]

    async def test_redelivered_batches_change_nothing(self, service) -> None:
        """HD-51: neither tickets nor decisions nor what leaves."""
        messages = [created(1, **DISPUTE), created(2, **DISPUTE)]
        await service.handle(*messages)
        queries = ("select * from ticket order by 1", "select * from decision order by 1, 2", "select * from outbox")
        before = [await service.rows(query) for query in queries]
        await service.handle(*messages)
        await service.handle(*reversed(messages))
        assert [await service.rows(query) for query in queries] == before

    @pytest.mark.parametrize(("apart", "level"), [(90 * DAY, 3), (90 * DAY + MICROSECOND, 2)], ids=str)
    async def test_disputes_count_for_ninety_days(self, service, apart: timedelta, level: int) -> None:
        """HD-51, E2: what is read from the table is what counts."""
        await service.handle(created(1, AT - apart, **DISPUTE))
        await service.handle(created(2, AT, **DISPUTE))
        assert {(await stands(service, number))[0] for number in (1, 2)} == {level}

    async def test_a_question_that_becomes_a_dispute_is_found(self, service) -> None:
        """HD-51, E2: in a batch that knows only the ticket's id."""
        await service.handle(created(1, **DISPUTE), created(2, **QUESTION))
        signals = ticket_data("signals_added", "T-2", signals=["legal_dispute"])
        await service.handle(wire(TicketSignalsAdded, signals))
        assert [await stands(service, 1), await stands(service, 2)] == [(3, 2, ("T-2",)), (3, 2, ("T-1",))]

    async def test_an_old_question_that_becomes_a_dispute_finds_one_still_older(self, service) -> None:
        """HD-51, E2: 80 days before it, although the batch also brings a new ticket about the same property."""
        await service.handle(created(1, AT - 160 * DAY, **DISPUTE), created(2, AT - 80 * DAY, **QUESTION))
        signals = ticket_data("signals_added", "T-2", signals=["legal_dispute"])
        await service.handle(created(3, **QUESTION), wire(TicketSignalsAdded, signals))
        assert await stands(service, 1) == (3, 2, ("T-2",))

    async def test_a_dispute_is_found_behind_any_number_of_questions(self, service) -> None:
        """HD-51, E2: many ask about a well-known character, two dispute it."""
        await service.handle(created(1, AT - DAY, **DISPUTE))
        await service.handle(*(created(number, AT - DAY / 2, **QUESTION) for number in range(100, 160)))
        await service.handle(created(2, **DISPUTE))
        assert [await stands(service, 1), await stands(service, 2)] == [(3, 2, ("T-2",)), (3, 1, ("T-1",))]

    async def test_the_same_trouble_is_found_across_batches(self, service) -> None:
        """E6: five requesters, a batch each."""
        for number in range(1, 6):
            await service.handle(created(number, **TestTheSameTrouble.STORY))
        assert [(await stands(service, number))[:2] for number in range(1, 6)] == [(3, 2)] * 4 + [(3, 1)]

    async def test_a_duplicate_is_found_across_batches(self, service) -> None:
        """HD-62."""
        await service.handle(created(1, **TestDuplicates.WORDS))
        await service.handle(created(2, AT + timedelta(minutes=10), by=1, **TestDuplicates.WORDS))
        [_, second] = await service.rows("select document from decision order by ticket_id")
        assert b'"suggestions":[{"hint":"duplicate","of":"T-1"}]' in second["document"]

    async def test_a_flood_is_found_across_batches(self, service, policy: Policy) -> None:
        """HD-64: the last of 25, of which the first twenty are within what a person writes."""
        assert policy.hygiene.flood_tickets == 20
        for batch in range(5):
            numbers = range(batch * 5 + 10, batch * 5 + 15)
            await service.handle(*(created(n, by=1, body=f"Number {n}", **LOGIN) for n in numbers))
        rows = await service.rows("select document from decision order by ticket_id")
        assert [b'"flood"' in row["document"] for row in rows] == [False] * 20 + [True] * 5

    async def test_a_flood_is_found_however_many_the_policy_allows(self, service, classifier, policy: Policy) -> None:
        """HD-64: 60 of one requester, and the one that is too many."""

        def unit_of(connection: Any, at: datetime) -> RoutingUnit:
            unit = RoutingUnit(connection, at, classifier)
            unit.policy = policy.model_copy(update={"hygiene": policy.hygiene.model_copy(update={"flood_tickets": 60})})
            return unit

        service.units = UnitsOfWork(service.database, unit_of, now=FakeNow(), wake=lambda _: None)
        await service.handle(*(created(n, by=1, body=f"Number {n}", **LOGIN) for n in range(100, 160)))
        await service.handle(created(160, by=1, **LOGIN))
        rows = await service.rows("select document from decision order by ticket_id")
        assert [b'"flood"' in row["document"] for row in rows] == [False] * 60 + [True]
