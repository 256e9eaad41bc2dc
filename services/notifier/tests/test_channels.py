"""Pages by every channel of a person, on real servers on loopback that refuse, stall and lie: each page reaches somebody (S4)."""

import asyncio
import base64
import dataclasses
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from http_room import HttpRoom, answer, http_room
from httpx2 import ASGITransport, AsyncClient
from notifier_replica import Replica
from pydantic import SecretStr
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from notifier.api import notification_routes
from notifier.app import URGENT_PAUSE, channels
from notifier.domain.desk import Desk
from notifier.domain.notification import Channel
from notifier.paging_watch import DEGRADED_AFTER, PagingWatch
from notifier.settings import NotifierSettings
from notifier.store import Sought, listed
from notifier.timers import Deliveries
from shared.directory import Directory
from shared.runtime.beat import Beat
from shared.runtime.database import Database
from shared.runtime.http import create_api
from shared.runtime.settings import ApiKey, ApiKeys, Scope
from shared.testing.time import FakeNow

OLD, NEW = ("whsec_" + base64.b64encode(bytes([n]) * 24).decode() for n in (1, 2))
REF = "SI-0A1B2C3D"
NOT_FOUND = answer(200, b'{"ok": false, "error": "channel_not_found"}')


def way(kind: str, address: str) -> dict[str, Any]:
    return {"kind": kind, "address": address, "urgent": True, "verified": True}


@dataclass
class House:
    """A notifier whose people are reached by real servers: Pat by three channels, Sam and Olga by mail."""

    replica: Replica
    now: FakeNow
    say: Any
    mail: Any
    slack: HttpRoom
    hook: HttpRoom
    desk: Desk
    make: Callable[[Desk], Awaitable[Replica]]

    async def hear(self, *messages: Any) -> None:
        await self.replica.hear(*messages)

    async def settle(self) -> None:
        """Look and send until nothing is under way."""
        for way_out in (self.replica.pages, self.replica.mails):
            more = True
            while more or way_out._under_way or way_out._finished or self.replica.woken:
                self.replica.woken.clear()
                await asyncio.gather(*way_out._under_way)
                more = await way_out.look()

    async def after(self, seconds: float) -> None:
        self.now.advance(seconds=seconds)
        await self.settle()

    async def fates(self, ref: str = REF) -> dict[tuple[str, str], str]:
        """What became of each page of an incident, by person and way."""
        async with self.replica.units.database.connection() as connection:
            pages = await listed(connection, Sought(incident_ref=ref), limit=1_000)
        return {(one.intent.recipient, one.intent.place): one.state.value for one in pages.notifications}

    def mails_to(self, person: str) -> list[str]:
        """Subjects, in the order in which they came."""
        mine = [one.content.decode() for one in self.mail.taken if one.rcpt_tos == [f"{person}@staff.example"]]
        return [line[9:].strip() for text in mine for line in text.split("\n") if line.startswith("Subject: ")]

    def directory(self, **people: list[dict[str, Any]]) -> Directory:
        """With these ways to people, and teams as ever."""
        plain = yaml.safe_load(yaml.safe_dump(self.desk.directory.model_dump(mode="json")))
        for ways in plain["on_call"].values():
            for person in ways:
                if person["id"] in people:
                    person["email"], person["channels"] = None, people[person["id"]]
        return Directory.from_yaml(yaml.safe_dump(plain))


@pytest.fixture
async def house(
    database: Database, desk: Desk, now: FakeNow, say: Any, room: Any, smtp_port: int, tmp_path: Path
) -> AsyncIterator[House]:
    async with AsyncExitStack() as opened:
        slack, hook = [await opened.enter_async_context(http_room()) for _ in range(2)]
        mine = [way("slack", slack.url), way("webhook", hook.url)]
        people = {
            "primary": [{"id": "pat", "email": "pat@staff.example", "channels": mine}],
            "secondary": [{"id": "sam", "email": "sam@staff.example"}],
            "ops": [{"id": "olga", "email": "olga@staff.example"}],
        }
        teams = desk.directory.model_dump(mode="json")["teams"]
        directory = Directory.from_yaml(yaml.safe_dump({"teams": teams, "on_call": people}))
        file = tmp_path / "directory.yaml"
        file.write_text(yaml.safe_dump(directory.model_dump(mode="json")))
        made: list[Replica] = []

        async def make(desk: Desk) -> Replica:
            one = Replica(database, desk, now)
            for urgent in (True, False):
                out = Deliveries(
                    one.units, channels(settings_with(file, smtp_port), now, 8, URGENT_PAUSE), urgent=urgent
                )
                setattr(one, "pages" if urgent else "mails", out)
                opened.push_async_callback(out._channels.close)
            made.append(one)
            return one

        with_people = dataclasses.replace(desk, directory=directory)
        yield House(await make(with_people), now, say, room, slack, hook, with_people, make)
        for one in made:
            await one.die()


def settings_with(directory_file: Path, smtp_port: int) -> NotifierSettings:
    return NotifierSettings.model_validate(
        {
            "kafka_bootstrap_servers": "k:9092",
            "database_url": "postgresql://d",
            "directory_file": directory_file,
            "smtp_url": f"smtp://127.0.0.1:{smtp_port}",
            "mail_from": "Storytailor Support <support@storytailor.example>",
            "webhook_secrets": [NEW, OLD],
            "trusted_hosts": ["127.0.0.1"],
        }
    )


# --- all channels together ------------------------------------------------------------------------------------------------


async def test_a_person_is_paged_on_every_urgent_channel_at_once(house: House) -> None:
    """Urgent channels are used together (4.5); each says no more than may leave there (4.10, SN-52)."""
    await house.hear(house.say.paged(roles=["primary"]))
    await house.settle()
    assert house.mails_to("pat") == [f"[{REF}] Action needed now"]
    assert "Severity: critical" in json.loads(house.slack.asked[0].body)["blocks"][0]["text"]["text"]
    (asked,) = house.hook.asked
    for secret in (OLD, NEW):
        signature = Webhook(secret).sign(asked.headers["webhook-id"], house.now(), asked.body.decode())
        assert signature in asked.headers["webhook-signature"].split()
    assert json.loads(asked.body)["data"]["text"] == f"[{REF}] Action needed now"
    assert "critical" not in asked.body.decode()
    assert set((await house.fates()).values()) == {"sent"}
    assert house.mails_to("sam") == []


async def test_ids_are_the_same_for_the_same_page_and_others_on_every_way(house: House, say: Any) -> None:
    """Invariant 26: a function of incident, epoch, step, recipient and way, whoever works it out."""
    await house.hear(say.paged(roles=["primary"]))
    ids = await house.replica.rows("select id from notification order by id")
    await house.replica.rows("truncate notification")
    other = await house.make(house.desk)
    await other.hear(say.paged(roles=["primary"]))
    assert await other.rows("select id from notification order by id") == ids
    assert len(ids) == 3
    for changed in ({"step": 1}, {"epoch": 2}, {"repeat": 1}):
        await other.hear(say.paged(roles=["primary"], **changed))
    assert await other.value("select count(*) from notification") == 12


async def test_two_mail_addresses_of_a_person_are_two_ways(house: House, say: Any) -> None:
    both = [way("email", "pat@staff.example"), way("email", "pat.night@staff.example")]
    house.replica = await house.make(dataclasses.replace(house.desk, directory=house.directory(pat=both)))
    await house.hear(say.paged(roles=["primary"]))
    await house.settle()
    assert (len(house.mails_to("pat")), len(house.mails_to("pat.night"))) == (1, 1)


async def test_all_people_on_duty_read_pages_together_in_the_restricted_channel(house: House, say: Any) -> None:
    """4.5: beside each person's own ways; where nobody is on duty the step is empty, whoever reads there."""
    house.replica = await house.make(dataclasses.replace(house.desk, restricted={Channel.SLACK: house.slack.url}))
    await house.hear(say.paged(roles=["secondary"]), say.paged("SI-99999999", roles=["lead"]))
    await house.settle()
    assert len(house.slack.asked) == 1
    assert await house.fates() == {("sam", "email"): "sent", ("channel/restricted", "slack"): "sent"}
    assert await house.fates("SI-99999999") == {("nobody", "email"): "failed"}


async def test_a_team_is_told_in_a_line_where_else_the_directory_says(house: House, say: Any) -> None:
    """SN-29: a number that would be a mention or a link stands there literally; the words of the mail do not (4.10)."""
    plain = house.desk.directory.model_dump(mode="json")
    plain["teams"]["customer_service"] |= {"slack": house.slack.url, "webhook": house.hook.url}
    desk = dataclasses.replace(house.desk, directory=Directory.from_yaml(yaml.safe_dump(plain)))
    house.replica = await house.make(desk)
    evil = "<!channel> <https://evil.example|login>"
    await house.hear(say.created(number=evil), say.assigned("login"))
    await house.settle()
    said = json.loads(house.slack.asked[0].body)
    assert said["blocks"][0]["text"] == {
        "type": "plain_text",
        "text": f"[Ticket #{evil}] A ticket is with your team",
        "emoji": False,
    }
    assert "<" not in said["text"]
    assert len(house.hook.asked) == 1
    assert [one.rcpt_tos for one in house.mail.taken].count(["customer_service@staff.example"]) == 1


# --- a provider in trouble ------------------------------------------------------------------------------------------------


async def test_sn_10_while_the_mail_server_refuses_the_other_channels_page(house: House, say: Any) -> None:
    """SN-10, invariant 17: at once by the others; mail after 1, 2, 4 … seconds, and once it is back once, with one id."""
    house.mail.answers = ["421 away"] * 4
    await house.hear(say.paged(roles=["primary"]))
    await house.settle()
    assert (len(house.slack.asked), len(house.hook.asked), house.mails_to("pat")) == (1, 1, [])
    for pause in (1, 2, 4):
        await house.after(pause)
    assert (house.mails_to("pat"), house.mail.answers) == ([], [])
    await house.after(8)
    await house.after(60)
    assert len(house.mails_to("pat")) == 1
    assert house.mails_to("sam") == []


async def test_sn_10_what_is_acknowledged_meanwhile_is_superseded(house: House, say: Any) -> None:
    house.mail.answers = ["421 away"]
    await house.hear(say.paged(roles=["primary"]))
    await house.settle()
    await house.hear(say.acknowledged())
    await house.after(60)
    assert house.mails_to("pat") == []
    assert (await house.fates())["pat", "email"] == "superseded"


async def test_sn_12_slack_that_asks_for_time_gets_it_and_the_others_do_not_wait(house: House, say: Any) -> None:
    """SN-12: no call for 30 s, whatever comes; mail and webhook at once; then the one that waits, without a second 429."""
    house.slack.answers = [answer(429, retry_after="30"), answer(200, b"ok")]
    await house.hear(say.paged(roles=["primary"]))
    await house.settle()
    await house.hear(say.paged("SI-99999999", roles=["primary"]))
    for _ in range(9):
        await house.after(3)
    assert (len(house.slack.asked), len(house.hook.asked), len(house.mails_to("pat"))) == (1, 2, 2)
    await house.after(3.5)
    await house.after(1.1)
    await house.after(1.1)
    assert len(house.slack.asked) == 3
    assert (await house.fates())["pat", "slack"] == "sent"
    attempts = await house.replica.rows("select document from notification where channel = 'slack'")
    assert sorted(json.loads(row["document"])["attempts"] for row in attempts) == [1, 2]


async def test_sn_13_slack_that_says_no_is_disabled_and_ops_is_told(house: House, say: Any) -> None:
    """SN-13: failed for good; the others went out; nothing is asked of it any more, also after a restart."""
    house.slack.answers = [NOT_FOUND]
    with capture_logs() as logged:
        await house.hear(say.paged(roles=["primary"]))
        await house.settle()
    assert await house.fates() == {("pat", "email"): "sent", ("pat", "slack"): "failed", ("pat", "webhook"): "sent"}
    assert house.mails_to("olga") == ["[Safety watch] Action needed now"]
    assert not [line for line in logged if house.slack.url in str(line)]
    house.replica = await house.make(house.desk)
    await house.hear(say.paged("SI-99999999", roles=["primary"]))
    await house.settle()
    assert (await house.fates("SI-99999999"))["pat", "slack"] == "failed"
    assert (len(house.slack.asked), len(house.mails_to("olga"))) == (1, 1)


async def test_a_person_lifts_that_a_destination_is_disabled_or_another_address_does(
    house: House, say: Any, database: Database
) -> None:
    house.slack.answers = [NOT_FOUND, answer(200, b"ok")]
    await house.hear(say.paged(roles=["primary"]))
    await house.settle()
    async with http_room() as elsewhere:
        other = dataclasses.replace(house.desk, directory=house.directory(pat=[way("slack", elsewhere.url)]))
        house.replica = await house.make(other)
        await house.hear(say.paged("SI-99999999", roles=["primary"]))
        await house.settle()
        assert len(elsewhere.asked) == 1
    async with operator(house) as client:
        (gone,) = (await client.get("/v1/destinations")).json()["disabled"]
        assert (gone["channel"], gone["recipient"], gone["reason_code"]) == ("slack", "pat", "slack_not_ok")
        assert house.slack.url not in str(gone)
        assert (await client.post(f"/v1/destinations/{gone['name']}/enable")).status_code == 204
        assert (await client.post(f"/v1/destinations/{gone['name']}/enable")).status_code == 404
        assert (await client.get("/v1/destinations")).json() == {"disabled": []}
    house.replica = await house.make(house.desk)
    await house.hear(say.paged("SI-88888888", roles=["primary"]))
    await house.settle()
    assert (await house.fates("SI-88888888"))["pat", "slack"] == "sent"


async def test_sn_51_a_webhook_that_is_gone_is_disabled_and_ops_is_told(house: House, say: Any) -> None:
    """SN-51: the page went out on the other channels."""
    house.hook.answers = [answer(410)]
    await house.hear(say.paged(roles=["primary"]))
    await house.settle()
    await house.hear(say.paged("SI-99999999", roles=["primary"]))
    await house.settle()
    assert len(house.hook.asked) == 1
    assert (await house.fates())["pat", "slack"] == (await house.fates())["pat", "email"] == "sent"
    assert house.mails_to("olga") == ["[Safety watch] Action needed now"]


async def test_sn_14_with_everything_down_it_is_told_late_and_the_beat_stops(house: House, say: Any) -> None:
    """SN-14: tries go on, an outage is told, no beat goes out; who is back first pages within 15 s and says how late."""
    beat = PagingWatch(house.replica.units, Beat(SecretStr(house.hook.url), house.now))
    await beat.look()
    assert (len(house.hook.asked), beat.doubt()) == (1, None)
    house.hook.answers = house.slack.answers = [answer(503)]
    house.mail.answers = ["421 away"] * 10_000
    began = house.now()
    await house.hear(say.paged(roles=["primary"]))
    for _ in range(60):
        await house.after(1)
        await beat.look()
    beats = len([one for one in house.hook.asked if one.body == b""])
    assert (beats, beat.doubt()) == (1, "pages reach nobody")
    assert house.now() - began > DEGRADED_AFTER
    assert (await house.replica.told()).count("paging_degraded") == 1
    house.slack.answers = [answer(200, b"ok")]
    back = house.now()
    while (await house.fates())["pat", "slack"] != "sent":
        await house.after(0.5)
    assert (house.now() - back).total_seconds() <= 15
    rows = await house.replica.rows("select payload from outbox order by seq")
    (late,) = [told for row in rows if (told := json.loads(row["payload"])).get("late_by_seconds")]
    assert late["late_by_seconds"] == (house.now() - began).total_seconds()
    assert (late["channel"], late["incident_ref"]) == ("slack", REF)
    house.hook.answers = [answer(200)]
    await beat.look()
    assert ((await house.replica.told()).count("paging_restored"), beat.doubt()) == (1, None)


async def test_sn_14_the_outage_is_counted_from_the_first_page_though_newer_ones_replace_it(
    house: House, say: Any
) -> None:
    """Each page of the ladder replaces the one before; nobody has been reached all the same."""
    beat = PagingWatch(house.replica.units, Beat(None, house.now))
    house.hook.answers = house.slack.answers = [answer(503)]
    house.mail.answers = ["421 away"] * 10_000
    for step in range(3):
        await house.hear(say.paged(roles=["primary"], step=step))
        await house.after(60)
        await beat.look()
        assert beat.doubt() == "pages reach nobody"
    assert (await house.replica.told()).count("paging_degraded") == 1
    await house.hear(say.acknowledged())
    await beat.look()
    assert beat.doubt() is None


async def test_sn_14_pages_that_are_all_refused_for_good_are_an_outage_too(house: House, say: Any) -> None:
    """A mail server that relays for nobody, and destinations that are gone: nothing is tried any more, and nobody was told."""
    beat = PagingWatch(house.replica.units, Beat(None, house.now))
    house.hook.answers, house.slack.answers = [answer(410)], [answer(404)]
    house.mail.answers = ["550 no relaying"] * 100
    with capture_logs():
        for step in range(2):
            await house.hear(say.paged(roles=["primary"], step=step))
            await house.after(1)
            assert set((await house.fates()).values()) == {"failed"}
            await house.after(DEGRADED_AFTER.total_seconds())
            await beat.look()
            assert beat.doubt() == "pages reach nobody"
            house.now.advance(minutes=10)
            await beat.look()
            assert beat.doubt() == "pages reach nobody"
    assert (await house.replica.told()).count("paging_degraded") == 1
    house.mail.answers = []
    await house.hear(say.paged(roles=["primary"], step=2))
    await house.after(1)
    await beat.look()
    assert beat.doubt() is None


async def test_sn_14_a_page_that_a_roll_up_will_say_is_not_refused(house: House, say: Any) -> None:
    """The channel of all people on duty is gone; Pat, who has had five pages, gets the sixth together with others in a minute."""
    await only_by_slack(house)
    await house.hear(*(say.paged(f"SI-0000000{n}", roles=["primary"]) for n in range(5)))
    for _ in range(10):
        await house.after(1)
    desk = house.replica.units._make.keywords["desk"]
    house.replica = await house.make(dataclasses.replace(desk, restricted={Channel.WEBHOOK: house.hook.url}))
    house.hook.answers = [answer(410)]
    beat = PagingWatch(house.replica.units, Beat(None, house.now))
    with capture_logs():
        await house.hear(say.paged("SI-00000005", roles=["primary"]))
        await house.after(DEGRADED_AFTER.total_seconds())
    assert sorted((await house.fates("SI-00000005")).values()) == ["failed", "queued"]
    await beat.look()
    assert beat.doubt() is None


async def test_sn_58_a_provider_that_hangs_is_cut_off_and_holds_up_nobody(house: House, say: Any) -> None:
    """SN-58: 80 calls hang, 64 at a time; every mail has gone out before the first of them is cut off, after five seconds."""
    house.hook.answers = [None]
    people: list[dict[str, Any]] = [
        {"id": f"p{n}", "channels": [way("webhook", f"{house.hook.url}/{n}")]} for n in range(80)
    ]
    for person in people[::8]:
        person["email"] = f"{person['id']}@staff.example"
    plain = house.desk.directory.model_dump(mode="json")
    plain["on_call"]["lead"] = people
    house.replica = await house.make(
        dataclasses.replace(house.desk, directory=Directory.from_yaml(yaml.safe_dump(plain)))
    )
    await house.hear(say.paged(roles=["lead"]))
    pages = house.replica.pages
    while len(house.mail.taken) < 10:
        await pages.look()
        assert not [one for one in pages._finished if one.result.outcome == "ambiguous"]
        await asyncio.sleep(0.01)
    assert 64 <= len(pages._under_way) <= 64 + 8
    await asyncio.gather(*pages._under_way)
    await pages.look()
    rows = await house.replica.rows("select reason from notification where channel = 'webhook' and reason is not null")
    assert {row["reason"] for row in rows} == {"webhook_unanswered"}


# --- somebody else is told (invariant 27) ---------------------------------------------------------------------------------


async def only_by_slack(house: House) -> None:
    house.replica = await house.make(
        dataclasses.replace(house.desk, directory=house.directory(pat=[way("slack", house.slack.url)]))
    )


@pytest.mark.parametrize(
    ("said", "became"),
    [(NOT_FOUND, "failed"), (answer(503), "queued"), (answer(429, retry_after="30"), "queued")],
    ids=["failed for good", "failed for now", "has to wait"],
)
async def test_whoever_cannot_be_reached_has_the_next_person_told_at_once(
    house: House, say: Any, said: bytes, became: str
) -> None:
    """Invariant 27: within five seconds, and once however often it fails; without an acknowledgement both go on."""
    await only_by_slack(house)
    house.slack.answers = [said]
    await house.hear(say.paged(roles=["primary"]))
    await house.settle()
    assert await house.fates() == {("pat", "slack"): became, ("sam", "email"): "sent"}
    await house.after(5)
    await house.after(40)
    assert house.mails_to("sam") == [f"[{REF}] Action needed now"]


async def test_when_all_ways_to_a_person_fail_at_once_the_next_person_is_told(house: House, say: Any) -> None:
    """Invariant 27: none of them counts on another that has failed in the same moment."""
    house.slack.answers = house.hook.answers = [answer(503)]
    house.mail.answers = ["421 away"]
    await house.hear(say.paged(roles=["primary"]))
    await house.settle()
    assert house.mails_to("sam") == [f"[{REF}] Action needed now"]


async def test_a_provider_that_is_down_is_not_waited_for_person_by_person(house: House, say: Any) -> None:
    """Invariant 17: of those who are next, the first, and the first who is reached by another provider."""
    plain = house.directory(pat=[way("email", "pat@staff.example")]).model_dump(mode="json")
    plain["on_call"]["lead"] = [{"id": "lea", "email": "lea@staff.example"}]
    kim = [way("email", "kim@staff.example"), way("slack", house.slack.url)]
    plain["on_call"]["safety_team"] = [{"id": "kim", "channels": kim}]
    desk = dataclasses.replace(house.desk, directory=Directory.from_yaml(yaml.safe_dump(plain)))
    house.replica = await house.make(desk)
    house.mail.answers = ["421 away"] * 1_000
    await house.hear(say.paged(roles=["primary"]))
    await house.replica.pages.look()
    await asyncio.gather(*house.replica.pages._under_way)
    await house.replica.pages.look()
    assert {person for person, _ in await house.fates()} == {"pat", "sam", "kim"}
    await house.settle()
    assert (await house.fates())["kim", "slack"] == "sent"


async def test_a_page_of_which_nobody_knows_whether_it_arrived_is_told_to_the_next_person(
    house: House, say: Any
) -> None:
    """Invariant 27: ambiguous."""
    await only_by_slack(house)
    house.slack.drops_line = True
    await house.hear(say.paged(roles=["primary"]))
    await house.settle()
    assert (await house.fates())["sam", "email"] == "sent"


async def test_a_page_to_somebody_whom_the_directory_no_longer_knows_goes_to_the_next_person(
    house: House, say: Any
) -> None:
    await house.hear(say.paged(roles=[], persons=["gone"]))
    await house.settle()
    assert await house.fates() == {
        ("gone", "email"): "failed",
        ("pat", "email"): "sent",
        ("pat", "slack"): "sent",
        ("pat", "webhook"): "sent",
    }


async def test_a_page_that_waits_too_long_for_its_turn_is_told_to_the_next_person(house: House, say: Any) -> None:
    """A destination that is left alone for a while is no reason to wait (SN-12, invariant 27)."""
    await only_by_slack(house)
    house.slack.answers = [answer(429, retry_after="30")]
    await house.hear(say.paged(roles=["primary"]))
    await house.settle()
    await house.hear(say.paged("SI-99999999", roles=["primary"]))
    await house.after(4)
    assert len(house.slack.asked) == 1
    assert (await house.fates("SI-99999999"))["sam", "email"] == "sent"


async def test_when_nobody_can_be_reached_everybody_is_tried(house: House, say: Any) -> None:
    """And nobody twice on one way; whoever is back gets theirs."""
    await only_by_slack(house)
    house.slack.answers = [answer(503)]
    house.mail.answers = ["421 away"] * 3
    await house.hear(say.paged(roles=["primary"]))
    for _ in range(20):
        await house.after(1)
    assert house.mails_to("sam") == [f"[{REF}] Action needed now"]
    assert len(await house.fates()) == 2


async def test_a_stand_in_is_found_once_though_the_process_dies_before_it_is_written_down(
    house: House, say: Any
) -> None:
    """The try is found by its lease and judged again; the ids are the same (invariants 26, 27)."""
    await only_by_slack(house)
    house.slack.answers = [answer(503)]
    await house.hear(say.paged(roles=["primary"]))
    pages = house.replica.pages
    await pages.look()
    await asyncio.gather(*pages._under_way)
    await pages._tell_others(pages._finished)
    await house.replica.die()
    house.replica = await house.make(house.replica.units._make.keywords["desk"])
    await house.after(60)
    assert house.mails_to("sam") == [f"[{REF}] Action needed now"]


async def test_a_roll_up_that_cannot_be_delivered_is_told_to_the_next_person(house: House, say: Any) -> None:
    """What it stands for is marked as told; so somebody has to be (invariant 27, 4.8)."""
    await only_by_slack(house)
    await house.hear(*(say.paged(f"SI-0000000{n}", roles=["primary"]) for n in range(8)))
    await house.settle()
    for _ in range(10):
        await house.after(1)
    assert (len(house.slack.asked), house.mails_to("sam")) == (5, [])
    house.slack.answers = [NOT_FOUND]
    await house.after(61)
    assert house.mails_to("sam") == ["[SI] Action needed now"]


async def test_a_roll_up_that_waits_too_long_for_its_turn_is_told_to_the_next_person(house: House, say: Any) -> None:
    """A destination that is spared when the roll-up is due is no reason to keep silent about what it stands for (SN-12, 4.8)."""
    await only_by_slack(house)
    await house.hear(*(say.paged(f"SI-0000000{n}", roles=["primary"]) for n in range(8)))
    await house.settle()
    for _ in range(5):
        await house.after(1)
    house.slack.answers = [answer(429, retry_after="3600")]
    await house.hear(say.paged("SI-99999999", roles=["primary"], lane="mandatory_report"))
    await house.settle()
    await house.after(61)
    await house.after(1)
    assert house.mails_to("sam") == ["[SI-99999999] Action needed now", "[SI] Action needed now"]
    told = house.mail.taken[-1].content.decode()
    assert sorted(set(re.findall(r"SI-0\d{7}", told))) == ["SI-00000005", "SI-00000006", "SI-00000007"]


class Mute(Desk):
    """A desk with a bug in every text, and in the one that stands in for them."""

    def words(self, *_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    fixed_page = words


async def test_a_page_that_cannot_be_written_at_all_is_no_secret(house: House, say: Any) -> None:
    """Invariant 27: it has failed, the next person is tried, and an outage is told on the topic."""
    fields = {field.name: getattr(house.desk, field.name) for field in dataclasses.fields(Desk)}
    house.replica = await house.make(Mute(**fields))
    await house.hear(say.paged(roles=["primary"]))
    with capture_logs():
        await house.settle()
    assert (await house.fates())["sam", "email"] == "failed"
    assert set((await house.fates()).values()) == {"failed"}
    await house.hear(say.paged(roles=["primary"], step=1))
    beat = PagingWatch(house.replica.units, Beat(None, house.now))
    house.now.advance(seconds=16)
    await beat.look()
    assert beat.doubt() == "pages reach nobody"


def operator(house: House) -> AsyncClient:
    """Somebody who may see and lift what is disabled."""
    scopes = frozenset({Scope.NOTIFICATIONS_READ, Scope.NOTIFICATIONS_ACT})
    key = ApiKey(name="robin", sha256=hashlib.sha256(b"robin").hexdigest(), scopes=scopes)
    api = create_api("notifier", keys=ApiKeys((key,)), checks={})
    api.include_router(notification_routes(house.replica.units))
    headers = {"authorization": "Bearer robin"}
    return AsyncClient(transport=ASGITransport(app=api), base_url="http://notifier", headers=headers)
