"""`make bench-clocks`: the deadlines of very many open clocks, with state and outbox as in the service.

Open tickets are copies of real documents, made by the database; those that fall due are real ones. Read ratios: rates drift with
the machine. Everything is one process and one database connection at a time, as in one replica.
"""

import argparse
import asyncio
import os
import random
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import asyncpg
import orjson
from rich.console import Console
from rich.table import Table

from deploy.engines import Engines
from deploy.provider import provide_engines
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.load import load_policy
from shared.runtime.database import Database
from shared.runtime.migrate import migrate
from shared.runtime.now import Now, machine_monotonic, machine_now
from shared.vocabulary import CATEGORY_OF, Level, Subcategory, Tier
from sla_monitor.domain.clock import Decided, Fact, FactKind, care_of
from sla_monitor.domain.targets import Rules
from sla_monitor.domain.ticket import Ticket
from sla_monitor.handlers import settle
from sla_monitor.settings import load_calendar
from sla_monitor.store import Rulebook, SlaUnit
from sla_monitor.timers import Deadlines

SCHEMA = "sla_monitor"
CLOCKS_A_TICKET = 3
FEW_CLOCKS = 100_000
BATCH = 500
PATIENCE = timedelta(minutes=1)
SUBCATEGORIES = (Subcategory.API_ERRORS, Subcategory.LOGIN, None)

_COPY = """
with template as (
    select row_number() over () - 1 as number, ticket_id, version, document, look_at, lane
    from ticket_clock join timer using (ticket_id) where ticket_id like 'S-%'
), copied as (
    insert into ticket_clock (ticket_id, version, document)
    select 'C-' || lpad(copy::text, 10, '0'), version,
           convert_to(replace(convert_from(document, 'UTF8'), template.ticket_id, 'C-' || lpad(copy::text, 10, '0')), 'UTF8')
    from generate_series($1::bigint, $2::bigint) as copy join template on number = copy % (select count(*) from template)
)
insert into timer (ticket_id, look_at, lane)
select 'C-' || lpad(copy::text, 10, '0'), look_at + interval '1 day' + random() * interval '5 days', lane
from generate_series($1::bigint, $2::bigint) as copy join template on number = copy % (select count(*) from template)
"""

out = Console(highlight=False)


class Drain(NamedTuple):
    """Seconds of each look, and of processor time of this process a ticket."""

    took: list[float]
    worked: float


class Bench:
    """One sla-monitor's tables, and what fills and empties them."""

    def __init__(self, url: str, rules: Rules, seed: int) -> None:
        self.database = Database(url, schema=SCHEMA)
        self.book = Rulebook(rules)
        self.chance = random.Random(seed)
        self.copies = 0
        self.made = 0
        self.seconds_a_ticket = 0.0
        """What it took to open one, the last time."""
        self.rows: list[tuple[str, str, str]] = []

    def report(self, what: str, figure: str, beside: str = "") -> None:
        self.rows.append((what, figure, beside))
        out.print(f"{what}: {figure} {beside}")

    def units(self, now: Now) -> UnitsOfWork[SlaUnit]:
        return UnitsOfWork(
            self.database, lambda connection, at: SlaUnit(connection, at, self.book), now=now, wake=lambda _: None
        )

    async def open(self, prefix: str, created: Sequence[datetime], now: datetime, tiers: Sequence[Tier]) -> None:
        """Real tickets, routed when they were created."""
        units, began = self.units(lambda: now), time.perf_counter()
        for start in range(0, len(created), BATCH):
            async with units.begin() as unit:
                for created_at in created[start : start + BATCH]:
                    self.made += 1
                    ticket = Ticket(f"{prefix}-{self.made:010d}", f"c-{self.made}")
                    subcategory = SUBCATEGORIES[self.made % len(SUBCATEGORIES)]
                    category = CATEGORY_OF[subcategory] if subcategory else None
                    tier = tiers[self.made % len(tiers)]
                    decided = Decided(care_of(category, subcategory), subcategory, Level(1), tier)
                    fact = Fact(created_at, FactKind.ROUTED, f"r-{self.made}", decided=decided)
                    ticket.start(fact, created_at=created_at, rules=unit.rules)
                    settle(ticket, unit)
        self.seconds_a_ticket = (time.perf_counter() - began) / len(created)

    async def copy_until(self, tickets: int) -> None:
        async with self.plain() as plain:
            while self.copies < tickets:
                until = min(self.copies + 50_000, tickets)
                await plain.execute(_COPY, self.copies, until - 1, timeout=300)
                self.copies = until
            await plain.execute("analyze ticket_clock, timer", timeout=300)

    @asynccontextmanager
    async def plain(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await self.database.dedicated()
        try:
            await connection.execute("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0")
            yield connection
        finally:
            await connection.close()

    async def drain(self, count: int, now: datetime) -> "Drain":
        """Let this many tickets fall due at once, and look until all are told."""
        created = [now - timedelta(minutes=31, seconds=self.chance.random() * 30) for _ in range(count)]
        await self.open("D", created, created[0] - timedelta(minutes=2), [Tier.ENTERPRISE])
        async with self.plain() as plain:
            await plain.execute("truncate outbox")
        ahead = now - machine_now()
        deadlines = Deadlines(self.units(lambda: machine_now() + ahead), monotonic=machine_monotonic)
        took, worked, more = [], time.process_time(), True
        while more:
            began = time.perf_counter()
            more = await deadlines.look()
            took.append(time.perf_counter() - began)
        worked = time.process_time() - worked
        async with self.plain() as plain:
            told = await plain.fetchval("select count(*) from outbox where payload like '%\"threshold\":0.5%'::bytea")
        assert told >= count, f"{told} of {count} were told"
        return Drain(took[: count // BATCH], worked / count)


async def steady(bench: Bench, a_second: int, seconds: int) -> None:
    """Deadlines fall due all the time while replies, pauses and resolutions come in; lateness to the commit."""
    begins = machine_now() + timedelta(seconds=2 * a_second * seconds * bench.seconds_a_ticket + 2)
    created = [
        begins - timedelta(minutes=30) + timedelta(seconds=bench.chance.random() * seconds)
        for _ in range(a_second * seconds)
    ]
    await bench.open("L", created, min(created), [Tier.ENTERPRISE])
    async with bench.plain() as plain:
        await plain.execute("truncate outbox")
        deadlines = Deadlines(bench.units(machine_now), monotonic=machine_monotonic)
        ends = begins + timedelta(seconds=seconds + 2)
        other = asyncio.create_task(_other_work(bench, begins, ends))
        late: list[float] = []
        seq = 0
        while machine_now() < ends + PATIENCE and len(late) < len(created):
            more = await deadlines.look()
            at = machine_now()
            rows = await plain.fetch("select seq, payload from outbox where seq > $1 order by seq", seq)
            for row in rows:
                event = orjson.loads(row["payload"])
                if event["threshold"] == 0.5 and event["ticket_id"].startswith("L-"):
                    late.append((at - datetime.fromisoformat(event["occurred_at"])).total_seconds())
                seq = row["seq"]
            if not more:
                await asyncio.sleep(0.5)
        facts = await other
    late.sort()
    p50, p99 = late[len(late) // 2], late[int(len(late) * 0.99)]
    bench.report(
        "lateness, steady load",
        f"p50 {p50:.2f} s, p99 {p99:.2f} s (n={len(late)})",
        f"{a_second} due/s beside {facts / (seconds + 2):,.0f} facts/s; a look each 0.5 s",
    )


async def _other_work(bench: Bench, begins: datetime, ends: datetime) -> int:
    """Replies, pauses and resolutions of open tickets, fifty at a time."""
    kinds, facts = (FactKind.REPLIED, FactKind.WAITING, FactKind.CONTINUED, FactKind.RESOLVED), 0
    units = bench.units(machine_now)
    await asyncio.sleep(max((begins - machine_now()).total_seconds(), 0.0))
    while (now := machine_now()) < ends:
        async with units.begin() as unit:
            ids = [f"C-{bench.chance.randrange(bench.copies):010d}" for _ in range(50)]
            query = "select * from ticket_clock where ticket_id = any($1::text[]) order by ticket_id for update"
            for ticket in await unit.load_tickets(query, ids):
                facts += 1
                ticket.add(Fact(now, kinds[facts % len(kinds)], f"f-{facts}"))
                settle(ticket, unit)
        await asyncio.sleep(0.2)
    return facts


def _memory_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _thirds(took: Sequence[float]) -> Iterator[float]:
    """Milliseconds of a look at the beginning and at the end."""
    third = max(len(took) // 3, 1)
    yield statistics.median(took[:third]) * 1000
    yield statistics.median(took[-third:]) * 1000


async def _run(engines: Engines, arguments: argparse.Namespace) -> None:
    policy = load_policy()
    name = f"b{secrets.token_hex(3)}"
    plain = await asyncpg.connect(engines.database_url)
    await plain.execute(f"create database {name}")
    await plain.close()
    url = engines.database_url.rpartition("/")[0] + f"/{name}"
    await migrate(url, schema=SCHEMA, package="sla_monitor")
    bench = Bench(url, Rules.of(policy, load_calendar(policy.clocks.calendar)), arguments.seed)
    now = machine_now()
    await bench.open("S", [now - timedelta(seconds=n) for n in range(64)], now, list(Tier))
    few = min(FEW_CLOCKS, arguments.count)
    await bench.copy_until(few // CLOCKS_A_TICKET)
    await bench.drain(BATCH * 2, now)  # warms plans and caches
    first = await bench.drain(arguments.due, now + timedelta(minutes=5))
    _report_drain(bench, few, first)
    if arguments.count > few:
        began = time.perf_counter()
        await bench.copy_until(arguments.count // CLOCKS_A_TICKET)
        bench.report("filled", f"{arguments.count:,} clocks", f"in {time.perf_counter() - began:.0f} s")
    all_open = await bench.drain(arguments.due, now + timedelta(minutes=10))
    _report_drain(bench, arguments.count, all_open)
    ratio = statistics.median(all_open.took) / statistics.median(first.took)
    bench.report("cost of a look", f"{ratio:.2f}", f"{arguments.count:,} open beside {few:,}")
    async with bench.plain() as old, old.transaction(isolation="repeatable_read"):
        await old.fetchval("select count(*) from timer where look_at < now()")
        behind = await bench.drain(arguments.due, now + timedelta(minutes=15))
        _report_drain(bench, arguments.count, behind, ", an old snapshot open")
        ratio = statistics.median(behind.took) / statistics.median(all_open.took)
        bench.report("cost of a look, old snapshot", f"{ratio:.2f}", "beside none")
    await steady(bench, arguments.rate, arguments.seconds)
    async with bench.plain() as plain:
        sizes = await plain.fetchrow(
            "select pg_total_relation_size('ticket_clock') as tickets, pg_total_relation_size('timer') as timers"
        )
    megabytes = f"ticket_clock {sizes['tickets'] / 1e6:,.0f} MB, timer {sizes['timers'] / 1e6:,.0f} MB"
    bench.report("memory of the process", f"{_memory_mb():.0f} MB", megabytes)
    await bench.database.close()
    table = Table(
        "what", "figure", "beside it", title=f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", box=None
    )
    for row in bench.rows:
        table.add_row(*row)
    out.print(table)


def _report_drain(bench: Bench, open_clocks: int, drain: Drain, what: str = "") -> None:
    rate = BATCH * len(drain.took) / sum(drain.took)
    begin, end = _thirds(drain.took)
    bench.report(
        f"claims, {open_clocks:,} open{what}",
        f"{rate:,.0f} tickets/s",
        f"with state and outbox; a look {begin:.0f} ms at first, {end:.0f} ms at last; "
        f"{drain.worked * 1e6:.0f} µs of this process a ticket",
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-clocks", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="open clocks")
    parser.add_argument("--due", type=int, default=20_000, help="tickets that fall due at once")
    parser.add_argument("--rate", type=int, default=200, help="tickets that fall due a second under steady load")
    parser.add_argument("--seconds", type=int, default=15, help="length of the steady load")
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="support-bench-") as name:
        engines = provide_engines(Path(name) / "engines")
        try:
            engines.start()
            asyncio.run(_run(engines, arguments))
        finally:
            engines.stop()


if __name__ == "__main__":
    main()
