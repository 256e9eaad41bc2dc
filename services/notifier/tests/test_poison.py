"""What one look fails on holds up nothing else, on either lane: it is put off, and everything behind it goes out."""

import pytest
from notifier_replica import Replica
from prometheus_client import REGISTRY

from notifier.timers import LOOK_AGAIN_AFTER

PAGED = "SI-0A1B2C3D"
UNREADABLE = b'{"id": 7}'


def failed_looks() -> float:
    return REGISTRY.get_sample_value("support_notification_looks_failed_total") or 0.0


async def spoil(replica: Replica, table: str, where: str) -> bytes:
    """Nobody can read this row any more; answers what stood in it."""
    before: bytes = await replica.value(f"select document from {table} where {where}")
    await write(replica, table, where, UNREADABLE)
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


async def test_a_roll_up_that_cannot_be_counted_holds_up_no_other(replica, now, say) -> None:
    """Each of the two persons who were paged too often has one; the one that can be counted goes out."""
    await replica.hear(*(say.paged(f"SI-0000000{n}", roles=["primary", "safety_team"]) for n in range(7)))
    await replica.deliver()
    first, second = sorted({message.recipient for message in replica.post.given})
    where = f"recipient = '{first.partition('@')[0]}'"
    before = await spoil(replica, "pace", where)
    now.advance(seconds=61)
    for _ in range(3):
        await replica.deliver()
    assert [len(replica.post.given_to(one)) for one in (first, second)] == [5, 6]
    await write(replica, "pace", where, before)
    now.advance(seconds=LOOK_AGAIN_AFTER.total_seconds())
    for _ in range(3):
        await replica.deliver()
    assert [len(replica.post.given_to(one)) for one in (first, second)] == [6, 6]
