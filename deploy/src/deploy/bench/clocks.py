"""`make bench-clocks`: the deadlines of very many open clocks, with state and outbox as in the service.

Tickets are real ones, copied into the tables under other names. Rates drift with what else the machine does: processor time and
ratios are the figures to trust. Claims are made by processes of their own, as replicas do.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import islice
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import NamedTuple

import asyncpg
import orjson
from rich.console import Console
from rich.table import Table

from deploy.provider import provide_engines
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.business_time import load_calendar
from shared.policy.load import load_policy
from shared.runtime.database import Database
from shared.runtime.migrate import migrate
from shared.runtime.now import Now, machine_monotonic, machine_now
from shared.vocabulary import CATEGORY_OF, Level, Subcategory, Tier
from sla_monitor.domain.clock import Decided, Fact, FactKind, care_of
from sla_monitor.domain.targets import Rules
from sla_monitor.domain.ticket import Ticket
from sla_monitor.handlers import settle
from sla_monitor.store import KeptRules, Rulebook, SlaUnit
from sla_monitor.timers import Deadlines

SCHEMA = "sla_monitor"
CLOCKS_A_TICKET = 3
FEW_CLOCKS = 100_000
ROWS_A_COPY = 20_000
PATIENCE = timedelta(minutes=1)
SUBCATEGORIES = (Subcategory.API_ERRORS, Subcategory.LOGIN, None)

out = Console(highlight=False, width=150)


class Row(NamedTuple):
    """A ticket as it is kept."""

    ticket_id: str
    document: bytes
    plan: bytes | None
    look_at: datetime
    lane: int

    def named(self, ticket_id: str, look_at: datetime) -> "Row":
        document = self.document.replace(self.ticket_id.encode(), ticket_id.encode())
        return self._replace(ticket_id=ticket_id, document=document, look_at=look_at)


class Drain(NamedTuple):
    """Of one process that looked until nothing was due: from when to when, seconds of each look, processor seconds here and
    of the server, megabytes."""

    began: float
    ended: float
    took: list[float]
    worked: float
    served: float
    megabytes: float


def units_of(database: Database, book: Rulebook, now: Now) -> UnitsOfWork[SlaUnit]:
    return UnitsOfWork(database, lambda connection, at: SlaUnit(connection, at, book), now=now, wake=lambda _: None)


def real_tickets(book: Rulebook, created: Sequence[datetime], tiers: Sequence[Tier]) -> list[Row]:
    """Tickets that were routed when they were created, as a handler keeps them."""
    rows = []
    for number, created_at in enumerate(created):
        unit = SlaUnit(None, created_at, book)
        subcategory = SUBCATEGORIES[number % len(SUBCATEGORIES)]
        category = CATEGORY_OF[subcategory] if subcategory else None
        decided = Decided(care_of(category, subcategory), subcategory, Level(1), tiers[number % len(tiers)])
        ticket = Ticket(f"S-{number:010d}", f"c-{number}")
        fact = Fact(created_at, FactKind.ROUTED, f"r-{number}", decided=decided)
        ticket.start(fact, created_at=created_at, rules=book.in_force)
        settle(ticket, unit)
        ((ticket_id, _, document, _, plan),) = unit.tickets.to_write()
        look_at = unit.tickets.outlook[ticket_id].look_at
        assert look_at is not None
        rows.append(Row(ticket_id, document, plan, look_at, unit.tickets.lane_of(ticket_id)))
    return rows


class Bench:
    """One sla-monitor's tables, and what fills and empties them."""

    def __init__(self, url: str, rules: Rules, arguments: argparse.Namespace) -> None:
        self.url = url
        self.database = Database(url, schema=SCHEMA)
        self.book = Rulebook(rules)
        self.chance = random.Random(arguments.seed)
        self.due: int = arguments.due
        self.open = 0
        self.drains = 0
        self.prepared_in = 0.0
        """Seconds that it took to make tickets and copy them, the last time."""
        self.rows: list[tuple[str, str, str]] = []

    def report(self, what: str, figure: str, beside: str = "") -> None:
        self.rows.append((what, figure, beside))
        out.print(f"{what}: {figure} {beside}")

    @asynccontextmanager
    async def plain(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await self.database.dedicated()
        try:
            await connection.execute("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0")
            yield connection
        finally:
            await connection.close()

    async def fill(self, clocks: int) -> None:
        """Open tickets, of which none is due for a day."""
        began, now = time.perf_counter(), machine_now()
        kinds = real_tickets(self.book, [now] * 64, list(Tier))
        tickets = clocks // CLOCKS_A_TICKET
        await self.copy(
            kinds[number % len(kinds)].named(
                f"C-{number:010d}", now + timedelta(days=1) + timedelta(days=5) * self.chance.random()
            )
            for number in range(self.open, tickets)
        )
        self.open = tickets
        self.report("filled", f"{clocks:,} clocks", f"in {time.perf_counter() - began:.0f} s")

    async def copy(self, rows: Iterable[Row]) -> None:
        given = iter(rows)
        async with self.plain() as plain:
            while some := list(islice(given, ROWS_A_COPY)):
                kept = [(row.ticket_id, 1, row.document, row.plan) for row in some]
                timers = [(row.ticket_id, row.look_at, row.lane) for row in some]
                names = ["ticket_id", "version", "document", "plan"]
                await plain.copy_records_to_table("ticket_clock", records=kept, columns=names, timeout=120)
                names = ["ticket_id", "look_at", "lane"]
                await plain.copy_records_to_table("timer", records=timers, columns=names, timeout=120)
            await plain.execute("analyze ticket_clock, timer; truncate outbox", timeout=300)

    async def drain(self, what: str, *, processes: int = 1) -> float:
        """Let tickets fall due at once and look until all are told. Answers the processor seconds of a claim."""
        self.drains += 1
        began, now = time.perf_counter(), machine_now()
        created = [now - timedelta(minutes=30, seconds=1 + 59 * self.chance.random()) for _ in range(500)]
        kinds = real_tickets(self.book, created, [Tier.ENTERPRISE])
        await self.copy(
            kinds[number % len(kinds)].named(f"D-{self.drains}-{number:010d}", kinds[number % len(kinds)].look_at)
            for number in range(self.due)
        )
        self.prepared_in = time.perf_counter() - began
        fork = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(
            processes, mp_context=fork, initializer=_ready, initargs=(fork.Barrier(processes),)
        ) as pool:
            tasks = [
                asyncio.get_running_loop().run_in_executor(pool, _drained, self.url, self.book.kept)
                for _ in range(processes)
            ]
            drains = await asyncio.gather(*tasks)
        async with self.plain() as plain:
            told = await plain.fetchval("select count(distinct key) from outbox")
        assert told == self.due, f"{told} of {self.due} were told"
        seconds = max(one.ended for one in drains) - min(one.began for one in drains)
        worked, served = (sum(times) / self.due for times in ((d.worked for d in drains), (d.served for d in drains)))
        took = [one for drain in drains for one in drain.took]
        third = max(len(took) // 3, 1)
        self.report(
            f"claims, {self.open * CLOCKS_A_TICKET:,} open{what}",
            f"{self.due / seconds:,.0f}/s",
            f"{worked * 1e6:.0f} µs processor here, {served * 1e6:.0f} µs in the server; a look of 500 "
            f"{statistics.median(took[:third]) * 1000:.0f} ms at first, {statistics.median(took[-third:]) * 1000:.0f} ms at last"
            f"; {max(one.megabytes for one in drains):.0f} MB",
        )
        return worked + served


def _ready(barrier: Barrier) -> None:
    """Begin when the others do."""
    barrier.wait()


def _drained(url: str, rules: KeptRules) -> Drain:
    return asyncio.run(_drain(url, Rulebook(rules.read())))


async def _drain(url: str, book: Rulebook) -> Drain:
    """A replica that finds much to tell."""
    database = Database(url, schema=SCHEMA, pool_size=1)
    deadlines = Deadlines(units_of(database, book, machine_now), monotonic=machine_monotonic)
    async with database.connection() as connection:
        server = await connection.fetchval("select pg_backend_pid()")
    served, worked, began = _processor_seconds(server), time.process_time(), time.time()
    took, more = [], True
    while more:
        start = time.perf_counter()
        more = await deadlines.look()
        took.append(time.perf_counter() - start)
    ended, worked, served = time.time(), time.process_time() - worked, _processor_seconds(server) - served
    await database.close()
    return Drain(began, ended, took, worked, served, _megabytes())


def _processor_seconds(pid: int) -> float:
    """Of a server on this machine; 0 for one elsewhere."""
    status = Path(f"/proc/{pid}/stat")
    return sum(map(int, status.read_text().split()[13:15])) / os.sysconf("SC_CLK_TCK") if status.exists() else 0.0


def _megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def steady(bench: Bench, a_second: int, seconds: int) -> None:
    """Deadlines fall due all the time while replies, pauses and resolutions come in; lateness to the commit."""
    begins = machine_now() + timedelta(seconds=10 + 3 * bench.prepared_in)
    created = [
        begins - timedelta(minutes=30) + timedelta(seconds=bench.chance.random() * seconds)
        for _ in range(a_second * seconds)
    ]
    kinds = real_tickets(bench.book, created, [Tier.ENTERPRISE])
    await bench.copy(row.named(f"L-{number:010d}", row.look_at) for number, row in enumerate(kinds))
    async with bench.plain() as plain:
        units = units_of(bench.database, bench.book, machine_now)
        deadlines = Deadlines(units, monotonic=machine_monotonic)
        ends = begins + timedelta(seconds=seconds + 2)
        other = asyncio.create_task(_other_work(bench, begins, ends))
        late: list[float] = []
        seq = 0
        while machine_now() < ends + PATIENCE and len(late) < len(created):
            more = await deadlines.look()
            at = machine_now()
            for row in await plain.fetch("select seq, payload from outbox where seq > $1 order by seq", seq):
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
        f"p50 {p50:.2f} s, p99 {p99:.2f} s",
        f"{len(late)} deadlines, {a_second} due/s beside {facts / (seconds + 2):,.0f} facts/s; a look each 0.5 s",
    )


async def _other_work(bench: Bench, begins: datetime, ends: datetime) -> int:
    """Replies, pauses and resolutions of open tickets, fifty at a time."""
    kinds, facts = (FactKind.REPLIED, FactKind.WAITING, FactKind.CONTINUED, FactKind.RESOLVED), 0
    units = units_of(bench.database, bench.book, machine_now)
    await asyncio.sleep(max((begins - machine_now()).total_seconds(), 0.0))
    while (now := machine_now()) < ends:
        async with units.begin() as unit:
            for ticket in await unit.hold([f"C-{bench.chance.randrange(bench.open):010d}" for _ in range(50)]):
                facts += 1
                ticket.add(Fact(now, kinds[facts % len(kinds)], f"f-{facts}"))
                settle(ticket, unit)
        await asyncio.sleep(0.2)
    return facts


async def _run(address: str, arguments: argparse.Namespace) -> None:
    name = f"b{secrets.token_hex(3)}"
    plain = await asyncpg.connect(address)
    await plain.execute(f"create database {name}")
    await plain.close()
    url = address.rpartition("/")[0] + f"/{name}"
    await migrate(url, schema=SCHEMA, package="sla_monitor")
    policy = load_policy()
    bench = Bench(url, Rules.of(policy, load_calendar(policy.clocks.calendar)), arguments)
    few = min(FEW_CLOCKS, arguments.count)
    await bench.fill(few)
    among_few = await bench.drain("")
    if arguments.count > few:
        await bench.fill(arguments.count)
        among_many = await bench.drain("")
        bench.report("cost of a claim", f"{among_many / among_few:.2f}", f"{arguments.count:,} open beside {few:,}")
    else:
        among_many = among_few
    await bench.drain(", two replicas", processes=2)
    async with bench.plain() as old, old.transaction(isolation="repeatable_read"):
        await old.fetchval("select count(*) from timer where look_at < now()")
        behind = await bench.drain(", an old snapshot open")
    bench.report("cost of a claim, old snapshot", f"{behind / among_many:.2f}", "beside none")
    await steady(bench, arguments.rate, arguments.seconds)
    async with bench.plain() as plain:
        tickets, timers = await plain.fetchrow(
            "select pg_total_relation_size('ticket_clock'), pg_total_relation_size('timer')"
        )
    a_clock = (tickets + timers) / (bench.open * CLOCKS_A_TICKET)
    bench.report("memory", f"{_megabytes():.0f} MB", "of the process under steady load")
    bench.report(
        "tables", f"{(tickets + timers) / 1e6:,.0f} MB", f"{timers / 1e6:,.0f} MB of it timers; {a_clock:.0f} B a clock"
    )
    await bench.database.close()
    title = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {arguments.due:,} tickets due in each drain"
    table = Table("what", "figure", "beside it", title=title, box=None)
    for row in bench.rows:
        table.add_row(*row)
    out.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-clocks", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="open clocks")
    parser.add_argument("--due", type=int, default=50_000, help="tickets that fall due at once")
    parser.add_argument("--rate", type=int, default=200, help="tickets that fall due a second under steady load")
    parser.add_argument("--seconds", type=int, default=15, help="length of the steady load")
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="support-bench-") as name:
        server = provide_engines(Path(name) / "engines").database
        try:
            server.launch()
            server.wait()
            asyncio.run(_run(server.address, arguments))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
