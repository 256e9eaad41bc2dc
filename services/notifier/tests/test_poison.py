"""What one look fails on holds up nothing else, on either lane: it is put off, and everything behind it goes out."""

import pytest
from notifier_replica import Replica
from prometheus_client import REGISTRY

from notifier.timers import LOOK_AGAIN_AFTER

PAGED = "SI-0A1B2C3D"
UNREADABLE, NO_JSON = b'{"id": 7}', b"{"

COPY_400 = """
insert into notification
select (json_populate_record(one, json_build_object(
    'id', 'copy-' || n, 'state', 'queued', 'next_look_at', one.created_at - interval '1 hour', 'destination', 'other'
))).* from notification as one, generate_series(1, 400) as n where id = (select min(id) from notification)
"""
BY_SLACK = """
update notification set channel = 'slack', destination = 'slack-1',
    document = convert_to(replace(convert_from(document, 'utf8'), '"email"', '"slack"'), 'utf8')
where ticket_id like 'S-%'
"""


def failed_looks() -> float:
    return REGISTRY.get_sample_value("support_notification_looks_failed_total") or 0.0


async def spoil(replica: Replica, table: str, where: str, document: bytes = UNREADABLE) -> bytes:
    """Nobody can read this row any more; answers what stood in it."""
    before: bytes = await replica.value(f"select document from {table} where {where}")
    await write(replica, table, where, document)
    return before


async def write(replica: Replica, table: str, where: str, document: bytes) -> None:
    async with replica.units.database.connection() as connection:
        await connection.execute(f"update {table} set document = $1 where {where}", document)


@pytest.mark.parametrize(
    ("table", "where"),
    [
        ("notification", f"incident_ref = '{PAGED}'"),
        ("notification", "ticket_id = 'T-1'"),
        ("ticket_context", "ticket_id = 'T-1'"),
    ],
)
async def test_what_cannot_be_read_holds_up_nobody_else(replica, now, say, table: str, where: str) -> None:
    """It is looked at again after half a minute, and goes out once a version that can read it is there."""
    await replica.hear(say.paged(PAGED, roles=["primary"]), say.assigned(subcategory=None))
    now.advance(seconds=1)
    await replica.hear(say.paged("SI-99999999", roles=["primary"]), say.assigned(subcategory=None, ticket_id="T-2"))
    everybody = await replica.value("select count(*) from notification")
    stands_for = await replica.value(f"select count(*) from notification where {where}")
    before, failed = await spoil(replica, table, where), failed_looks()
    await replica.deliver()
    assert len(replica.post.given) == everybody - stands_for
    assert failed_looks() - failed == stands_for
    await replica.deliver()
    assert failed_looks() - failed == stands_for
    await write(replica, table, where, before)
    now.advance(seconds=LOOK_AGAIN_AFTER.total_seconds())
    await replica.deliver()
    assert len(replica.post.given) == everybody


async def test_what_waits_for_a_place_hides_nothing_that_has_to_be_put_off(replica, say) -> None:
    """However much is due on a channel that has no place left, the others go on."""
    replica.post.hang = True
    await replica.hear(*(say.assigned(subcategory=None, ticket_id=f"T-{n}") for n in range(10)))
    await replica.begin()
    await replica.hear(say.assigned(subcategory=None, ticket_id="S-1"), say.assigned(subcategory=None, ticket_id="S-2"))
    async with replica.units.database.connection() as connection:
        await connection.execute(COPY_400)
        await connection.execute(BY_SLACK)
    await spoil(replica, "notification", "ticket_id = 'S-1'")
    await replica.begin()
    assert await replica.value("select state from notification where ticket_id = 'S-2'") != "queued"
    await replica.die()


async def test_a_page_that_cannot_be_read_costs_its_incident_no_other(replica, say) -> None:
    """The next one is asked for and goes out, and an acknowledgement ends what can be read (S4)."""
    await replica.hear(say.paged(PAGED, roles=["primary"]))
    await spoil(replica, "notification", f"incident_ref = '{PAGED}'")
    await replica.hear(say.paged(PAGED, roles=["primary"], step=1))
    await replica.deliver()
    assert len(replica.post.given) == 1
    await replica.hear(say.paged(PAGED, roles=["primary"], step=2), say.acknowledged(PAGED))
    await replica.deliver()
    assert len(replica.post.given) == 1


async def test_a_count_that_cannot_be_read_costs_nobody_a_page(replica, say) -> None:
    """How often somebody was paged lately begins anew: rather one page too many by itself than none (S4)."""
    await replica.hear(say.paged(PAGED, roles=["primary"]))
    await spoil(replica, "pace", "true")
    await replica.hear(say.paged("SI-99999999", roles=["primary"]))
    await replica.deliver()
    assert len(replica.post.given) == 2


async def test_a_result_that_cannot_be_written_down_is_left_to_its_lease(replica, now, say) -> None:
    """The results of the others are written down, and what is due begins."""
    await replica.hear(say.paged(PAGED, roles=["primary"]), say.paged("SI-99999999", roles=["primary"]))
    await replica.pages.look()
    before = await spoil(replica, "notification", f"incident_ref = '{PAGED}'")
    await replica.deliver()
    states = "select state from notification where incident_ref = '{}'"
    assert await replica.value(states.format("SI-99999999")) == "sent"
    assert await replica.value(states.format(PAGED)) == "sending"
    await write(replica, "notification", f"incident_ref = '{PAGED}'", before)
    now.advance(seconds=600)
    await replica.deliver()
    assert await replica.value(states.format(PAGED)) == "sent"


async def test_a_stopping_process_writes_down_what_it_can(replica, say) -> None:
    """Of what went out only that is left to its lease which cannot be written down."""
    await replica.hear(say.paged(PAGED, roles=["primary"]), say.paged("SI-99999999", roles=["primary"]))
    await replica.pages.look()
    await spoil(replica, "notification", f"incident_ref = '{PAGED}'")
    await replica.pages.stop()
    await replica.pages.run()
    assert await replica.value("select state from notification where incident_ref = 'SI-99999999'") == "sent"


async def test_a_roll_up_that_cannot_be_counted_holds_up_no_other(replica, now, say) -> None:
    """Each of the two persons who were paged too often has one; the one that can be counted goes out."""
    await replica.hear(*(say.paged(f"SI-0000000{n}", roles=["primary", "safety_team"]) for n in range(7)))
    await replica.deliver()
    first, second = sorted({message.recipient for message in replica.post.given})
    person = first.partition("@")[0]
    of_person = f"rolled_up_in is not null and convert_from(document, 'utf8') like '%\"recipient\":\"{person}\"%'"
    where = f"id = '{await replica.value(f'select min(id) from notification where {of_person}')}'"
    before = await spoil(replica, "notification", where, NO_JSON)
    now.advance(seconds=61)
    for _ in range(3):
        await replica.deliver()
    assert [len(replica.post.given_to(one)) for one in (first, second)] == [5, 6]
    await write(replica, "notification", where, before)
    now.advance(seconds=LOOK_AGAIN_AFTER.total_seconds())
    for _ in range(3):
        await replica.deliver()
    assert [len(replica.post.given_to(one)) for one in (first, second)] == [6, 6]
