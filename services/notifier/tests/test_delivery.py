"""From an event to a mail handed over, on a real database: claimed once, checked once more, written down, found again (T3)."""

import asyncio
import dataclasses
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from email.headerregistry import Address

import pytest
from notifier_replica import Replica
from prometheus_client import REGISTRY, generate_latest
from structlog.testing import capture_logs

from notifier.app import SUBSCRIPTIONS
from notifier.domain.desk import Desk
from notifier.domain.notification import Template
from notifier.domain.retry import LEASE_MARGIN, Outcome, SendResult
from notifier.domain.templates import Templates, Text, Words
from notifier.domain.wording import Edition
from notifier.senders.email import compose
from notifier.store import waiting_for_a_person
from shared.errors import TransientFailure

BUSY = SendResult(Outcome.TRANSIENT, "smtp_451")
UNKNOWN = SendResult(Outcome.AMBIGUOUS, "smtp_disconnected")
PAT = "pat@staff.example"
LEASE = timedelta(seconds=15) + LEASE_MARGIN


class Saying(Text):
    """A text that says what a function makes of its words, where it has values."""

    def __init__(self, text: Text, said: Callable[[Words], Words]) -> None:
        self.__dict__ = text.__dict__ | {"_said": said}

    def render(self, facts: Mapping[str, str]) -> Words:
        words = super().render(facts)
        return self._said(words) if all(facts.values()) else words


class Saids(Templates):
    """Texts that say something else; of all texts, or of one."""

    def __init__(self, desk: Desk, said: Callable[[Words], Words], only: Template | None = None) -> None:
        super().__init__(desk.templates.edition)
        self._said, self._only = said, only

    def text(self, template: Template, language: str) -> Text:
        text = super().text(template, language)
        return Saying(text, self._said) if self._only in (None, template) else text


def broken(words: Words) -> Words:
    raise ZeroDivisionError


def adding(sentence: str) -> Callable[[Words], Words]:
    return lambda words: dataclasses.replace(words, body=f"{words.body}\n{sentence}")


def stopped(audience: str, reason: str) -> float:
    return (
        REGISTRY.get_sample_value("support_notification_text_stopped_total", {"audience": audience, "reason": reason})
        or 0.0
    )


async def test_a_ticket_becomes_a_mail_to_the_team_and_one_to_the_customer(replica, say) -> None:
    await replica.hear(say.created(number="1"), say.assigned("login"))
    await replica.deliver()
    assert replica.post.subjects == ["Re: [Ticket #1] Login", "[Ticket #1] A ticket is with your team"]
    assert {message.recipient for message in replica.post.given} == {
        "ada@example.com",
        "customer_service@staff.example",
    }
    assert await replica.states() == {"initial_response": "sent", "team_assigned": "sent"}
    assert sorted(await replica.told()) == ["queued", "queued", "sent", "sent"]


async def test_created_and_assigned_may_come_in_two_batches_of_either_order(replica, say) -> None:
    """They are of two topics (T3)."""
    await replica.hear(say.assigned("login"))
    await replica.hear(say.created(number="1"))
    await replica.deliver()
    assert "Re: [Ticket #1] Login" in replica.post.subjects


async def test_a_second_delivery_of_the_same_events_sends_nothing_again(replica, say) -> None:
    """Beside the inbox, the ids of intents see to it: one delivery per intent."""
    events = (say.created(), say.assigned(), say.escalated(), say.paged())
    await replica.hear(*events)
    await replica.deliver()
    sent = len(replica.post.given)
    await replica.hear(*events)
    await replica.deliver()
    assert len(replica.post.given) == sent == 6


async def test_two_replicas_share_the_work(replica, database, desk, now, say) -> None:
    """Each message goes out once; rows that one looks at are passed over by the other."""
    for number in range(20):
        await replica.hear(say.created(f"T-{number}"), say.assigned(ticket_id=f"T-{number}"))
    other = Replica(database, desk, now)
    for _ in range(4):
        await asyncio.gather(replica.deliver(), other.deliver())
    ids = [message.id for message in replica.post.given + other.post.given]
    assert len(ids) == len(set(ids)) == 40


async def test_two_transactions_that_make_the_same_ticket_known_do_not_overwrite_each_other(replica, say) -> None:
    """The later one is tried again (created and assigned at once, on two replicas)."""
    created = say.created()

    async def overtaken() -> None:
        async with replica.units.begin() as unit:
            await unit.load([created])
            await replica.hear(say.assigned("login"))
            SUBSCRIPTIONS[type(created.event)](created, unit)

    with pytest.raises(TransientFailure):
        await overtaken()
    await replica.hear(created)
    assert (await replica.states())["initial_response"] == "queued"


async def test_busy_is_tried_again_later_under_the_same_id(replica, now, say) -> None:
    replica.post.answers_to[PAT] = [BUSY, BUSY]
    await replica.hear(say.paged())
    for seconds in (0, 0.7, 1, 3):
        now.advance(seconds=seconds)
        await replica.deliver()
    assert len(replica.post.given_to(PAT)) == 3
    assert len({message.id for message in replica.post.given_to(PAT)}) == 1
    assert await replica.told() == ["queued", "queued", "sent", "sent"]


async def test_retries_survive_a_restart(replica, database, desk, now, say) -> None:
    """When to try again is in the row."""
    replica.post.answers = [BUSY]
    await replica.hear(say.created(), say.assigned("crisis_detection", team="finance"))
    await replica.deliver()
    await replica.die()
    other = Replica(database, desk, now)
    await other.deliver()
    assert other.post.given == []
    now.advance(seconds=10)
    await other.deliver()
    assert [message.id for message in other.post.given] == [message.id for message in replica.post.given]
    assert (await other.states())["team_assigned"] == "sent"


async def test_a_page_whose_process_died_is_sent_again_under_the_same_id(replica, database, desk, now, say) -> None:
    """A duplicate costs a glance (1.10, SN-11)."""
    replica.post.hang = True
    await replica.hear(say.paged(roles=["primary"]))
    await replica.begin()
    await replica.die()
    other = Replica(database, desk, now)
    now.advance(seconds=14)
    await other.deliver()
    assert other.post.given == []
    now.advance(seconds=2)
    await other.deliver()
    assert [message.id for message in other.post.given] == [message.id for message in replica.post.given]


async def test_a_customers_mail_whose_process_died_is_held_for_a_person(replica, database, desk, now, say) -> None:
    """Nobody knows whether it arrived, so nobody sends it twice; the team's is repeated."""
    replica.post.hang = True
    await replica.hear(say.created(), say.assigned())
    await replica.begin()
    await replica.die()
    other = Replica(database, desk, now)
    now.advance(seconds=LEASE.total_seconds() + 1)
    await other.deliver()
    assert await other.states() == {"initial_response": "held", "team_assigned": "sent"}
    assert [message.recipient for message in other.post.given] == ["customer_service@staff.example"]


async def test_a_result_that_comes_after_the_lease_still_counts_when_the_mail_arrived(
    replica, database, desk, now, say
):
    """Held meanwhile, then known to be sent: the ledger says what happened."""
    await replica.hear(
        say.created(), say.assigned("crisis_detection"), say.assigned("login", "T-2"), say.created("T-2")
    )
    await replica.begin()
    now.advance(seconds=LEASE.total_seconds() + 1)
    await Replica(database, desk, now).deliver()
    assert (await replica.states("T-2"))["initial_response"] == "held"
    await asyncio.gather(*replica.mails._under_way)
    await replica.mails.look()
    assert (await replica.states("T-2"))["initial_response"] == "sent"


async def test_a_result_that_is_known_before_the_next_look_counts_though_the_lease_has_ended(replica, now, say) -> None:
    """The look that writes it down does not take the same row for one whose process died: told once, sent once."""
    await replica.hear(say.created(), say.assigned("login"), say.paged(roles=["primary"]))
    await replica.begin()
    await asyncio.gather(*replica.mails._under_way, *replica.pages._under_way)
    now.advance(seconds=LEASE.total_seconds() + 1)
    await replica.deliver()
    assert sorted(await replica.told()) == ["queued"] * 3 + ["sent"] * 3
    assert len(replica.post.given) == 3


async def test_an_uncertain_mail_is_held_for_customers(replica, say) -> None:
    replica.post.answers = [UNKNOWN] * 2
    await replica.hear(say.created(), say.assigned())
    await replica.deliver()
    assert await replica.states() == {"initial_response": "held", "team_assigned": "queued"}


async def test_right_before_sending_it_is_checked_once_more(replica, say) -> None:
    """A ticket that has become a safety ticket meanwhile is not written to (T3)."""
    await replica.hear(say.created(), say.assigned("login"))
    await replica.hear(say.assigned("privacy_concern", decision_id="d-2", replaces="d-1", team="safety"))
    await replica.deliver()
    assert (await replica.states())["initial_response"] == "suppressed"
    assert "ada@example.com" not in {message.recipient for message in replica.post.given}


async def test_a_warning_that_comes_too_late_is_not_sent(replica, now, say) -> None:
    await replica.hear(say.assigned(), say.warned())
    now.advance(hours=49)
    await replica.deliver()
    assert await replica.states() == {"team_assigned": "sent", "sla_warning": "expired"}


async def test_a_breach_that_was_sent_in_an_earlier_batch_is_taken_back(replica, say) -> None:
    """HD-65: what was sent and what still waits is found in the table (L13)."""
    breach = say.breached()
    await replica.hear(say.assigned(), breach)
    await replica.deliver()
    correction = say.corrected(caused_by=breach.id)
    await replica.hear(correction)
    await replica.deliver()
    assert [one.subject for one in replica.post.given].count(
        "[Ticket #T-1] A target stands otherwise than we said"
    ) == 2
    assert (await replica.states())["sla_breached"] == "sent"


async def test_what_was_overtaken_between_two_tries_is_not_tried_again(replica, now, say) -> None:
    """The incident was acknowledged (SN-10)."""
    replica.post.answers_to[PAT] = [BUSY]
    await replica.hear(say.paged())
    await replica.deliver()
    await replica.hear(say.acknowledged())
    now.advance(minutes=1)
    await replica.deliver()
    assert len(replica.post.given_to(PAT)) == 1
    assert await replica.told() == ["queued", "queued", "sent", "superseded"]


async def test_a_resolution_completes_what_an_earlier_batch_has_held(replica, say) -> None:
    """The full text of a claim (T4)."""
    await replica.hear(say.created(), say.assigned("rights_holder_claim", team="legal", level=3))
    assert (await replica.states())["rights_holder_claim"] == "held"
    await replica.hear(say.resolved(facts={"attribution_added": True, "detection_reviewed": True}))
    await replica.deliver()
    assert (await replica.states())["rights_holder_claim"] == "sent"


async def test_a_commit_wakes_the_lane_on_which_something_is_due(replica, say) -> None:
    await replica.hear(say.created(), say.assigned("login"))
    assert replica.woken == [False]
    await replica.hear(say.paged())
    assert replica.woken == [False, True]


async def test_one_message_that_hangs_holds_up_nobody(replica, say) -> None:
    """The next page is claimed and sent while the first one waits for its answer (S6)."""
    replica.post.hang = True
    await replica.hear(say.paged(roles=["primary"]))
    await replica.begin()
    replica.post.hang = False
    await replica.hear(say.paged("SI-99999999", roles=["primary"]))
    await replica.begin()
    assert replica.post.subjects == ["[SI-0A1B2C3D] Action needed now", "[SI-99999999] Action needed now"]


async def test_one_message_that_cannot_be_written_holds_up_nobody(replica, database, desk, now, say) -> None:
    """A bug of ours: it waits for a person, the rest of its batch goes out."""
    await replica.hear(say.created(), say.assigned("login"), say.escalated())
    without_one = Saids(desk, broken, Template.INITIAL_RESPONSE)
    bad = Replica(database, dataclasses.replace(desk, templates=without_one), now)
    await bad.deliver()
    assert await bad.states() == {
        "initial_response": "held",
        "escalation": "sent",
        "team_assigned": "sent",
        "team_escalated": "sent",
    }


async def test_a_page_that_says_too_much_goes_out_with_a_fixed_text(replica, database, desk, now, say) -> None:
    """A page is never lost; that it was stopped is counted (SN-25, invariants 27 and 29)."""
    talkative = Saids(desk, adding("The child said so. See SI-99999999."))
    loud = Replica(database, dataclasses.replace(desk, templates=talkative), now)
    before = stopped("on_call", "incident_reference")
    await loud.hear(say.paged(roles=["primary"]))
    await loud.deliver()
    (page,) = loud.post.given
    assert page.subject == "[SI-0A1B2C3D] Action needed now"
    assert page.body == "An incident needs you now. Please acknowledge it.\n"
    assert await loud.told() == ["queued", "sent"]
    assert stopped("on_call", "incident_reference") == before + 1


async def test_a_page_that_cannot_be_written_goes_out_with_a_fixed_text(replica, database, desk, now, say) -> None:
    """No literal placeholder in any byte, and no hole (SN-25)."""
    bad = Replica(database, dataclasses.replace(desk, templates=Saids(desk, broken)), now)
    before = stopped("on_call", "ZeroDivisionError")
    await bad.hear(say.paged(roles=["primary"], mode="drill"))
    await bad.deliver()
    (page,) = bad.post.given
    assert page.subject == "DRILL [SI-0A1B2C3D] Action needed now"
    assert page.body.startswith("DRILL. ")
    assert stopped("on_call", "ZeroDivisionError") == before + 1


async def test_a_staff_mail_that_says_too_much_is_held(replica, database, desk, now, say) -> None:
    """For a person to see to; the customer's own mail goes out (S5)."""
    talkative = Saids(desk, adding("Ada wrote from ada@example.com."))
    loud = Replica(database, dataclasses.replace(desk, templates=talkative), now)
    before = stopped("team", "personal_data")
    await loud.hear(say.created(), say.assigned("login"))
    await loud.deliver()
    assert await loud.states() == {"initial_response": "sent", "team_assigned": "held"}
    assert [message.recipient for message in loud.post.given] == ["ada@example.com"]
    assert stopped("team", "personal_data") == before + 1


async def test_outside_production_nobody_but_the_listed_is_written_to(replica, database, desk, now, say) -> None:
    """Invariant 38, SN-42: whatever an event says, a copy of production's events reaches nobody real."""
    staging = Replica(database, dataclasses.replace(desk, allowed=frozenset({"@staff.example"})), now)
    await staging.hear(say.created(), say.assigned("login"), say.paged(roles=["primary"]))
    await staging.deliver()
    assert sorted(message.recipient for message in staging.post.given) == [
        "customer_service@staff.example",
        "pat@staff.example",
    ]
    assert await staging.states() == {"initial_response": "suppressed", "team_assigned": "sent"}
    nobody = Replica(database, dataclasses.replace(desk, allowed=frozenset()), now)
    await nobody.hear(say.paged("SI-99999999"), say.assigned("login", "T-2"), say.created("T-2"))
    await nobody.deliver()
    assert nobody.post.given == []


async def test_logs_and_metrics_name_ids_and_codes_only(replica, database, desk, now, say) -> None:
    """Invariant 33: also where a sender fails with an address in its words, and where a text is stopped."""
    talkative = Saids(desk, adding("Ada wrote from ada@example.com."))
    loud = Replica(database, dataclasses.replace(desk, templates=talkative), now)

    def fail() -> None:
        raise OSError(f"cannot reach {loud.post.given[-1].recipient} about {loud.post.given[-1].body}")

    loud.post.on_send = fail
    with capture_logs() as logged:
        await loud.hear(say.created(), say.assigned("login"), say.resolved(summary="my secret"), say.paged())
        await loud.deliver()
    assert {"sender failed", "text stopped"} <= {line["event"] for line in logged}
    everything = json.dumps(logged) + generate_latest().decode()
    assert not [word for word in ("Ada", "example.com", "staff.example", "secret", "Moonbear") if word in everything]


def after_an_edit(desk: Desk, old: str, new: str) -> Desk:
    """The desk of a deployment whose files say something else."""
    edition = desk.templates.edition
    texts = {
        language: {name: source.replace(old, new) for name, source in of.items()}
        for language, of in edition.texts.items()
    }
    edited = Edition(**dict(edition) | {"texts": texts})
    assert edited.version != edition.version
    return dataclasses.replace(desk, templates=Templates(edited))


async def test_a_message_is_written_from_the_texts_it_was_decided_on(replica, database, desk, now, say) -> None:
    """HD-68: a deployment with new files between decision and sending; what is decided on after it has the new ones."""
    requester = {"id": "u-1", "email": "ada@example.com", "locale": "de-AT"}
    await replica.hear(say.created(requester=requester), say.assigned("login"))
    newer = Replica(database, after_an_edit(desk, "Wir halten Sie auf dem Laufenden.", "Bis bald."), now)
    await newer.hear(say.resolved(), say.escalated(decision_id="d-3"))
    await newer.deliver()
    bodies = {mail.subject: mail.body for mail in newer.post.given if mail.recipient == "ada@example.com"}
    assert "Wir halten Sie auf dem Laufenden." in bodies["Re: [Ticket #T-1] Anmeldung"]
    assert "Bis bald." in bodies["Re: [Ticket #T-1] - Weitergeleitet"]
    assert {row["version"] for row in await newer.rows("select version from edition")} == {
        desk.templates.edition.version,
        newer.desk.templates.edition.version,
    }


async def test_a_held_message_keeps_its_texts_until_a_person_completes_it(replica, database, desk, now, say) -> None:
    """HD-68: what was decided on is what goes out, however much later."""
    await replica.hear(say.created(), say.assigned("missing_attribution"), say.resolved())
    newer = Replica(database, after_an_edit(desk, "Thank you for reporting this.", "Oh."), now)
    await newer.complete("missing_attribution", {"attribution_added": True})
    await newer.deliver()
    (mail,) = [mail for mail in newer.post.given if "belongs to Moon Studios" in mail.body]
    assert "Thank you for reporting this." in mail.body


async def test_a_page_whose_texts_are_lost_goes_out_with_a_fixed_text(replica, database, desk, now, say) -> None:
    """And a customer's mail waits for a person, who lets it go with the texts in force (SN-25)."""
    await replica.hear(say.created(), say.assigned("login"), say.paged(roles=["primary"]))
    await replica.rows("delete from edition returning version")
    newer = Replica(database, after_an_edit(desk, "keep you updated", "write to you"), now)
    before = stopped("on_call", "BadTemplate")
    await newer.deliver()
    (page,) = [mail for mail in newer.post.given if mail.recipient == "pat@staff.example"]
    assert page.body == "An incident needs you now. Please acknowledge it.\n"
    assert stopped("on_call", "BadTemplate") == before + 1
    assert (await newer.states())["initial_response"] == "held"
    await newer.release("initial_response")
    await newer.deliver()
    (mail,) = [mail for mail in newer.post.given if mail.recipient == "ada@example.com"]
    assert "We'll write to you on the progress." in mail.body


async def test_a_page_whose_text_misses_a_variable_goes_out_with_a_fixed_text(
    replica, database, desk, now, say
) -> None:
    """SN-25: at once, counted, and without a placeholder in any byte of the mail."""
    bad = Replica(database, after_an_edit(desk, "{{ severity }}", "{{ gravity }}"), now)
    before = stopped("on_call", "UndefinedError")
    await bad.hear(say.paged(roles=["primary"]))
    await bad.deliver()
    (page,) = bad.post.given
    assert page.body == "An incident needs you now. Please acknowledge it.\n"
    assert b"{" not in compose(page, Address(addr_spec="support@storytailor.example"), None)
    assert stopped("on_call", "UndefinedError") == before + 1


async def test_a_customers_text_that_misses_a_variable_is_held_for_a_person(replica, database, desk, now, say) -> None:
    """SN-26: nothing is sent, and it stands among what waits for a person."""
    bad = Replica(database, after_an_edit(desk, "{{ resolution_details }}", "{{ details }}"), now)
    await bad.hear(say.created(), say.assigned("login"), say.resolved())
    await bad.deliver()
    assert (await bad.states())["resolution"] == "held"
    assert "Resolved" not in " ".join(bad.post.subjects)
    async with bad.units.database.connection() as connection:
        waiting = await waiting_for_a_person(connection, after=(now() - timedelta(days=1), ""), limit=10)
    (held,) = waiting.notifications
    assert (held.intent.template, held.reason) == ("resolution", "unrenderable")


async def test_a_mail_without_the_owner_of_a_character_waits_for_a_person_who_knows(replica, say) -> None:
    """HD-66: not sent with a hole or a bracket; the name is supplied, and then it goes out."""
    await replica.hear(
        say.created(ip={"id": "ip-1", "character": "Moonbear"}),
        say.assigned("missing_attribution"),
        say.resolved(facts={"attribution_added": True}),
    )
    await replica.deliver()
    (held,) = [one for one in await replica.notifications() if one.state == "held"]
    assert (held.intent.template, held.missing) == ("missing_attribution", ("owner",))
    await replica.complete("missing_attribution", {"owner": "Moon Studios"})
    await replica.deliver()
    assert "Moonbear belongs to Moon Studios." in replica.post.given[-1].body
    assert not [mail for mail in replica.post.given if "[O" in f"{mail.subject}{mail.body}{mail.html}"]


async def test_a_text_that_was_refused_at_start_is_held(replica, database, desk, now, say) -> None:
    """SN-26, SN-27: its messages wait for a person, the others go out."""
    refused = frozenset({(Template.INITIAL_RESPONSE, "en")})
    bad = Replica(database, dataclasses.replace(desk, refused=refused), now)
    await bad.hear(say.created(), say.assigned("login"))
    await bad.deliver()
    assert await bad.states() == {"initial_response": "held", "team_assigned": "sent"}


async def test_an_edition_is_written_down_once(replica, say) -> None:
    await replica.hear(say.created(), say.assigned("login"))
    await replica.hear(say.paged())
    assert await replica.value("select count(*) from edition") == 1
    assert list(replica.desk.editions) == [replica.desk.templates.edition.version]


async def test_a_message_from_before_editions_is_written_from_the_texts_in_force(replica, say) -> None:
    """Rows of an older version of the service name none."""
    await replica.hear(say.created(), say.assigned("login"))
    await replica.rows(
        "update notification set document = convert_to((convert_from(document, 'utf8')::jsonb #- '{intent,wording}')::text,"
        " 'utf8') returning id"
    )
    await replica.deliver()
    assert set((await replica.states()).values()) == {"sent"}


async def test_a_stopping_service_waits_for_what_is_under_way_and_writes_it_down(replica, say) -> None:
    """A restart leaves no customer's mail uncertain."""
    await replica.hear(say.created(), say.assigned("login"))
    running = asyncio.create_task(replica.mails.run())
    under_way = asyncio.Event()
    replica.post.on_send = under_way.set
    await under_way.wait()
    await replica.mails.stop()
    await running
    assert set((await replica.states()).values()) == {"sent"}
