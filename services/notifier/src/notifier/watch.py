"""The tables of what is wrong with the ways out: destinations that are gone, and times in which pages reach nobody."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from shared.runtime.database import Connection

_DISABLE = """
insert into disabled_destination (name, channel, recipient, reason, disabled_at) values ($1, $2, $3, $4, $5)
on conflict do nothing
"""
_DISABLED = "select name, channel, recipient, reason, disabled_at from disabled_destination order by disabled_at, name"
_NAMES = "select name from disabled_destination"
_ENABLE = "delete from disabled_destination where name = $1 returning name"
_UNTOLD = """
select incident_ref, min(earlier.created_at) as since
from ({incidents}) as incident
cross join lateral (
    select max(coalesce(sent_at, created_at)) as at from notification
    where incident_ref = incident.incident_ref and state = 'sent'
) as told
join notification as earlier using (incident_ref)
where (earlier.state in ('queued', 'sending', 'failed') or earlier.reason = 'newer_page')
    and (told.at is null or earlier.created_at > told.at)
group by 1
"""
_UNTOLD_NOW = _UNTOLD.format(
    incidents="""
    select incident_ref from notification
    where urgent and incident_ref is not null and next_look_at is not null and rolled_up_in is null
    union
    select incident_ref from notification as failed
    where urgent and incident_ref is not null and state = 'failed' and created_at > $1 and not exists (
        select from notification as other
        where other.incident_ref = failed.incident_ref and other.rolled_up_in is not null
            and other.created_at >= failed.created_at
    )
    """
)
_UNTOLD_OF = _UNTOLD.format(
    incidents="select distinct incident_ref from notification where id = any($1) and incident_ref is not null"
)
_BEGIN = "insert into paging_outage (since, told_at) values ($1, $2) on conflict do nothing"
_END = "update paging_outage set ended_at = $1 where ended_at is null returning since"


@dataclass(frozen=True, slots=True)
class Disabled:
    """A destination that takes nothing until a person lifts that. `recipient` is a reference; no address is kept here."""

    name: str
    channel: str
    recipient: str
    reason: str
    disabled_at: datetime


async def disable(connection: Connection, gone: Disabled) -> bool:
    """Send nothing there any more. False if that was known."""
    row = (gone.name, gone.channel, gone.recipient, gone.reason, gone.disabled_at)
    return bool(await connection.execute(_DISABLE, *row) == "INSERT 0 1")


async def disabled_names(connection: Connection) -> frozenset[str]:
    return frozenset(row["name"] for row in await connection.fetch(_NAMES))


async def disabled(connection: Connection) -> list[Disabled]:
    return [Disabled(**row) for row in await connection.fetch(_DISABLED)]


async def enable(connection: Connection, name: str) -> bool:
    """Send there again. False if it was not disabled."""
    return await connection.fetchval(_ENABLE, name) is not None


async def untold_since(connection: Connection, *, failed_since: datetime) -> datetime | None:
    """Since when an incident waits whose pages have reached nobody; None where there is none.

    Its pages are being tried, or one that was made since that instant was refused for good; what a roll-up says is not refused.
    """
    return min((row["since"] for row in await connection.fetch(_UNTOLD_NOW, failed_since)), default=None)


async def untold_since_of(connection: Connection, page_ids: Collection[str]) -> dict[str, datetime]:
    """By incident of these pages, when the first page was due of those that nobody has got so far."""
    rows = await connection.fetch(_UNTOLD_OF, list(page_ids)) if page_ids else []
    return {row["incident_ref"]: row["since"] for row in rows}


async def outage_begins(connection: Connection, since: datetime, now: datetime) -> bool:
    """False if it is known."""
    return bool(await connection.execute(_BEGIN, since, now) == "INSERT 0 1")


async def outage_ends(connection: Connection, now: datetime) -> datetime | None:
    """When it had begun; None if there was none."""
    since: datetime | None = await connection.fetchval(_END, now)
    return since
