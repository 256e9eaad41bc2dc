"""`make bench`: the figures of the system beside plain yardsticks, all in one run on the engines of the provider.

Read ratios: rates drift with the machine. Every contender runs as a process of its own, on topics and tables of its own.
"""

import argparse
import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
from rich.console import Console
from rich.table import Table

from deploy import processes
from deploy.bench.load import story, ticket
from deploy.engines import Engines
from deploy.given import GivenDatabase, GivenKafka
from deploy.provider import provide_engines
from deploy.stack import SERVICES, Stack
from shared.events.topics import NOTIFICATION, ROUTING, SAFETY, SLA, TICKET
from shared.messaging.kafka import Kafka, Message

REPETITIONS = 3
POLL_SECONDS = 0.05
PRELOAD_BATCH = 2000
TICKETS_A_POST = 25
STORY_EVENTS = 4
CLOCK_EVENTS = 6
"""Three started, two met, one cancelled."""
ORIGINALS = 50
TIGHTER = {"clocks": {"targets": {"premium": {"initial_response": "6 hours"}}}}
SHIPPED = files("shared.policy") / "policy.yaml"
_ROUTED = """
select count(*) from sla_monitor.ticket_clock where convert_from(document, 'utf8')::json -> 'terms' ->> 'decided_by' > ''
"""
_COPY = """
insert into sla_monitor.ticket_clock
select copy || '-' || ticket_id, version,
    convert_to(replace(convert_from(document, 'utf8'), '"' || ticket_id || '"', '"' || copy || '-' || ticket_id || '"'), 'utf8')
from sla_monitor.ticket_clock, generate_series(1, $1::int) as copy
"""

out = Console(highlight=False)


class Bench:
    """Engines, and a place for each contender."""

    def __init__(self, engines: Engines, directory: Path) -> None:
        self.engines = engines
        self.directory = directory
        self.rows: list[tuple[str, str, str]] = []

    def report(self, what: str, figure: str, beside: str = "") -> None:
        self.rows.append((what, figure, beside))
        out.print(f"{what}: {figure} {beside}")

    async def place(self) -> tuple[Kafka, str]:
        """Topics with a prefix of their own, and a database of its own."""
        name = f"b{secrets.token_hex(3)}"
        plain = await asyncpg.connect(self.engines.database_url)
        await plain.execute(f"create database {name}")
        await plain.close()
        kafka = Kafka(self.engines.kafka_address, topic_prefix=f"{name}.")
        await kafka.create_topics()
        return kafka, self.engines.database_url.rpartition("/")[0] + f"/{name}"

    @contextmanager
    def stack(self, kafka: Kafka, database_url: str, names: set[str], **further: str) -> Any:
        given = Engines(GivenKafka(kafka.bootstrap_servers), GivenDatabase(database_url))
        variables = {"SUPPORT_TOPIC_PREFIX": kafka.topic_prefix, "SUPPORT_INTAKE_EVENTS_PER_SECOND": "0", **further}
        services = [service for service in SERVICES if service.name in names]
        directory = self.directory / kafka.topic_prefix.rstrip(".")
        stack = Stack(directory, given, services=services, environment=variables)
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()


async def hop(bench: Bench, count: int) -> None:
    """A backlog of tickets through the router, beside the plain loop that does the same writes; by turns."""
    rates: dict[str, list[float]] = {"router": [], "plain": []}
    for _ in range(REPETITIONS):
        for contender, found in rates.items():
            kafka, database_url = await bench.place()
            await preload(kafka, count)
            with ExitStack() as running:
                if contender == "router":
                    running.enter_context(bench.stack(kafka, database_url, {"router"}))
                else:
                    running.enter_context(_plain_loop(kafka, database_url))
                found.append(await drain_rate(kafka, {ROUTING.name: count}))
    router, plain = (statistics.median(rates[name]) for name in ("router", "plain"))
    pairs = [a / b for a, b in zip(rates["router"], rates["plain"], strict=True)]
    ratio = f"{statistics.median(pairs):.2f} of the plain loop [{min(pairs):.2f}..{max(pairs):.2f}]"
    bench.report("router hop", f"{router:,.0f} events/s", f"plain loop {plain:,.0f}; ratio {ratio}")


async def judgement(bench: Bench, count: int) -> None:
    """What a classification costs a ticket, and the pipeline: the same backlog with and without a category from upstream."""
    figures = await _cost_of_judging()
    for what, told in (
        ("patterns", "patterns"),
        ("with_category", "with upstream's category"),
        ("by_words", "by words"),
    ):
        cost = figures[what]
        bench.report(
            f"classification, {told}",
            f"median {cost['median']:.0f} µs, p99 {cost['p99']:.0f} µs",
            f"mean {cost['mean']:.0f}",
        )
    rates: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(REPETITIONS):
        for with_category, found in rates.items():
            kafka, database_url = await bench.place()
            await preload(kafka, count, with_category=with_category)
            with bench.stack(kafka, database_url, {"router"}):
                found.append(await drain_rate(kafka, {ROUTING.name: count}))
    given, judged = (statistics.median(rates[kind]) for kind in (True, False))
    share = statistics.median(1 - b / a for a, b in zip(rates[True], rates[False], strict=True))
    bench.report(
        "router hop, judged by words", f"{judged:,.0f} events/s", f"with a category {given:,.0f}; its share {share:.0%}"
    )


async def _cost_of_judging() -> dict[str, dict[str, float]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router.training.cost", stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 300)
    figures: dict[str, dict[str, float]] = json.loads(printed)
    return figures


@contextmanager
def _plain_loop(kafka: Kafka, database_url: str) -> Any:
    topics = [kafka.topic_prefix + TICKET.name, kafka.topic_prefix + ROUTING.name]
    command = [sys.executable, "-m", "deploy.bench.plain_loop", kafka.bootstrap_servers, database_url, *topics]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


async def preload(kafka: Kafka, count: int, *, with_category: bool = True) -> None:
    """Put tickets on the topic as upstream would."""
    publisher = kafka.publisher()
    for start in range(0, count, PRELOAD_BATCH):
        numbers = range(start, min(start + PRELOAD_BATCH, count))
        events = [ticket(number, "t", with_category=with_category) for number in numbers]
        await publisher.publish([_message(event) for event in events], deadline_seconds=60)
    await publisher.stop()


def _message(event: dict[str, Any]) -> Message:
    headers = [(f"ce_{name}", str(value).encode()) for name, value in event.items() if name != "data"]
    headers.append(("content-type", b"application/json"))
    return Message(TICKET.name, event["data"]["ticket_id"].encode(), headers, json.dumps(event["data"]).encode())


async def drain_rate(kafka: Kafka, expected: dict[str, int]) -> float:
    """Events per second from the first tenth to the end, seen from outside by the length of the topics."""
    total = sum(expected.values())
    async with kafka.watcher(expected) as watcher:
        marks: list[tuple[float, int]] = []
        while not marks or marks[-1][1] < total:
            marks.append((time.perf_counter(), await watcher.length()))
            await asyncio.sleep(POLL_SECONDS)
    begin = next(mark for mark in marks if mark[1] >= total / 10)
    return (marks[-1][1] - begin[1]) / (marks[-1][0] - begin[0]) / len(expected)


async def latency(bench: Bench, count: int) -> None:
    """One event at a time on an idle system: from the 202 to the routing record, and of a crisis to its page sent."""
    kafka, database_url = await bench.place()
    with bench.stack(kafka, database_url, {service.name for service in SERVICES}) as stack:
        await one_by_one(stack, kafka, count // 4, _ticket_post, ROUTING.name, _is_assigned)
        routed = await one_by_one(stack, kafka, count, _ticket_post, ROUTING.name, _is_assigned)
        paged = await one_by_one(stack, kafka, count // 4, _crisis_post, SAFETY.name, _is_page)
        sent = await one_by_one(stack, kafka, count // 4, _crisis_post, NOTIFICATION.name, _is_page_sent)
    bench.report("202 to routing record, idle", _quantiles(routed), "goal p99 < 60 ms")
    bench.report("crisis: 202 to page requested, idle", _quantiles(paged))
    bench.report("crisis: 202 to page sent recorded, idle", _quantiles(sent), "goal p99 < 300 ms to the channel")


async def one_by_one(
    stack: Stack,
    kafka: Kafka,
    count: int,
    post: Callable[[int, str], tuple[str, dict[str, Any]]],
    topic: str,
    is_it: Callable[[str, bytes], bool],
) -> list[float]:
    """Seconds from the answer to the record, one event after the other."""
    found: list[float] = []
    headers = {"authorization": f"Bearer {stack.api_key}"}
    async with _arrivals(kafka, topic, is_it) as arrivals, httpx2.AsyncClient(headers=headers) as client:
        for number in range(count):
            path, body = post(number, secrets.token_hex(4))
            answer = await client.post(stack.url("intake") + path, json=body)
            answered_at = time.perf_counter()
            answer.raise_for_status()
            found.append(max(0.0, await asyncio.wait_for(arrivals.get(), 20) - answered_at))
            await asyncio.sleep(0.03)
            while not arrivals.empty():
                arrivals.get_nowait()
    return found


@asynccontextmanager
async def _arrivals(
    kafka: Kafka, topic: str, is_it: Callable[[str, bytes], bool]
) -> AsyncIterator[asyncio.Queue[float]]:
    queue: asyncio.Queue[float] = asyncio.Queue()
    async with kafka.watcher([topic]) as watcher:
        await watcher.skip_to_end()

        async def follow() -> None:
            async for record in watcher.follow():
                if is_it(dict(record.headers).get("ce_type", b"").decode(), record.value):
                    queue.put_nowait(time.perf_counter())

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.5)
        try:
            yield queue
        finally:
            following.cancel()
            await asyncio.wait({following})


def _ticket_post(number: int, run: str) -> tuple[str, dict[str, Any]]:
    data: Any = ticket(number, run)["data"]
    return "/v1/tickets", data


def _crisis_post(number: int, run: str) -> tuple[str, dict[str, Any]]:
    return "/v1/safety/events", {
        "specversion": "1.0",
        "id": f"{run}-{number}",
        "source": "/child-safety-agent",
        "type": "com.storytailor.safety.crisis_detected.v1",
        "data": {"agent_incident_id": f"A-{run}-{number}", "severity": "critical"},
    }


def _is_assigned(wire_type: str, _: bytes) -> bool:
    return wire_type.endswith("routing.assigned.v1")


def _is_page(wire_type: str, _: bytes) -> bool:
    return wire_type.endswith("page_requested.v1")


def _is_page_sent(wire_type: str, value: bytes) -> bool:
    return wire_type.endswith("notification.sent.v1") and b'"page' in value


async def whole_path(bench: Bench, count: int) -> None:
    """Whole lives of tickets posted in batches while all services work, until all is routed and every clock has ended."""
    kafka, database_url = await bench.place()
    with bench.stack(kafka, database_url, {service.name for service in SERVICES}) as stack:
        started = time.perf_counter()
        posting = asyncio.create_task(_post_all(stack, count))
        async with kafka.watcher([ROUTING.name]) as routing, kafka.watcher([SLA.name]) as sla:
            await posting
            while await routing.length() < count or await sla.length() < CLOCK_EVENTS * count:  # noqa: ASYNC110 - no bell
                await asyncio.sleep(POLL_SECONDS)
        took = time.perf_counter() - started
        async with kafka.watcher([NOTIFICATION.name]) as notified:
            mails = await notified.length() / 2
    events = count * STORY_EVENTS
    bench.report(
        "whole path, all services", f"{events / took:,.0f} ticket events/s", "routed, clocks ended; goal 3,000"
    )
    bench.report("mail meanwhile", f"{mails / took:,.0f} notifications/s", "about four a ticket are due, sent behind")


async def _post_all(stack: Stack, count: int) -> None:
    headers = {"authorization": f"Bearer {stack.api_key}", "content-type": "application/cloudevents-batch+json"}
    run = secrets.token_hex(3)
    numbers = iter(range(0, count, TICKETS_A_POST))

    async def one(client: httpx2.AsyncClient) -> None:
        for start in numbers:
            events = [event for number in range(start, start + TICKETS_A_POST) for event in story(number, run)]
            answer = await client.post(stack.url("intake") + "/v1/events", content=json.dumps(events), headers=headers)
            answer.raise_for_status()

    async with httpx2.AsyncClient(timeout=30) as client:
        await asyncio.gather(*(one(client) for _ in range(8)))


async def intake(bench: Bench, seconds: float) -> None:
    """Single posts beside a plain FastAPI endpoint, by turns; and batches of 100."""
    rates: dict[str, list[float]] = {"intake": [], "plain": []}
    batches = 0.0
    for _ in range(REPETITIONS):
        kafka, database_url = await bench.place()
        with bench.stack(kafka, database_url, {"intake"}) as stack:
            url = stack.url("intake") + "/v1/events"
            answer = await _load(url, stack.api_key, seconds=seconds, batch=1)
            rates["intake"].append(answer["events_per_second"])
            batches = max(batches, (await _load(url, stack.api_key, seconds=seconds, batch=100))["events_per_second"])
        with _plain_endpoint(kafka) as url:
            rates["plain"].append((await _load(url, "", seconds=seconds, batch=1))["events_per_second"])
    pairs = [a / b for a, b in zip(rates["intake"], rates["plain"], strict=True)]
    ratio = f"ratio {statistics.median(pairs):.2f} [{min(pairs):.2f}..{max(pairs):.2f}]; goal 2"
    plain = statistics.median(rates["plain"])
    bench.report(
        "intake, single posts", f"{statistics.median(rates['intake']):,.0f} events/s", f"plain {plain:,.0f}; {ratio}"
    )
    bench.report("intake, batches of 100", f"{batches:,.0f} events/s", "with de-duplication; goal 15,000")


async def retarget(bench: Bench, count: int) -> None:
    """An edited policy on open tickets, copies of a few: tried dry as a draft, and then brought to them (L11)."""
    kafka, database_url = await bench.place()
    await preload(kafka, ORIGINALS)
    database = await asyncpg.connect(database_url)
    with bench.stack(kafka, database_url, {"router", "sla-monitor"}) as stack:
        while await database.fetchval(_ROUTED) < ORIGINALS:  # noqa: ASYNC110 - no bell
            await asyncio.sleep(POLL_SECONDS)
        await database.execute(_COPY, count // ORIGINALS)
        await database.execute("analyze sla_monitor.ticket_clock")
        rounds = [await _ask(stack, "/v1/drafts", {"changes": TIGHTER}) for _ in range(REPETITIONS)]
    took = [seconds for seconds, _ in rounds]
    found = rounds[0][1]
    bench.report(
        "policy tried dry",
        f"{statistics.median(took):.1f} s",
        f"[{min(took):.1f}..{max(took):.1f}] {found['moved']:,} clocks move on {found['tickets']:,} tickets; goal: seconds",
    )
    file = bench.directory / "edited.yaml"
    file.write_text(SHIPPED.read_text().replace("premium: {initial_response: 12", "premium: {initial_response: 6"))
    with bench.stack(kafka, database_url, {"sla-monitor"}, SUPPORT_POLICY_FILE=str(file)) as stack:
        seconds, done = await _ask(stack, "/v1/retargets", {})
    for told in ("moved", "started", "cancelled", "restated", "retargeted", "failed", "changes"):
        assert done[told] == found[told], f"{told} is not what the dry run said"
    bench.report("retarget to it", f"{seconds:.1f} s", f"{done['retargeted']:,} tickets written, announced")
    await database.close()


async def _ask(stack: Stack, path: str, body: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Seconds and the answer."""
    headers = {"authorization": f"Bearer {stack.api_key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=600) as client:
        started = time.perf_counter()
        answer = await client.post(stack.url("sla-monitor") + path, json=body)
        took = time.perf_counter() - started
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return took, found


async def _load(url: str, key: str, *, seconds: float, batch: int) -> dict[str, float]:
    arguments = {
        "url": url,
        "key": key,
        "seconds": seconds,
        "connections": 128 if batch == 1 else 8,
        "batch": batch,
        "run": secrets.token_hex(4),
    }
    command = [sys.executable, "-m", "deploy.bench.load", json.dumps(arguments)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    printed, _ = await asyncio.wait_for(process.communicate(), seconds + 60)
    answer: dict[str, float] = json.loads(printed)
    return answer


@contextmanager
def _plain_endpoint(kafka: Kafka) -> Any:
    port = processes.free_port()
    topic = kafka.topic_prefix + TICKET.name
    environment = os.environ | {"BENCH_KAFKA": kafka.bootstrap_servers, "BENCH_TOPIC": topic}
    arguments = ["deploy.bench.plain_endpoint:app", "--port", str(port), "--no-access-log", "--log-level", "warning"]
    process = subprocess.Popen([sys.executable, "-m", "uvicorn", *arguments], env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while not _answers(f"{url}/readyz"):
            if time.monotonic() > deadline:
                raise TimeoutError("the plain endpoint did not start")
            time.sleep(0.1)
        yield f"{url}/v1/events"
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=1).status_code == httpx2.codes.OK
    except httpx2.HTTPError:
        return False


def _quantiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = ordered[len(ordered) // 2] * 1000, ordered[int(len(ordered) * 0.99)] * 1000
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms (n={len(ordered)})"


async def _run(engines: Engines, directory: Path, arguments: argparse.Namespace) -> None:
    bench = Bench(engines, directory)
    parts: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "latency": lambda: latency(bench, arguments.singles),
        "hop": lambda: hop(bench, arguments.count),
        "judgement": lambda: judgement(bench, arguments.count // 2),
        "path": lambda: whole_path(bench, arguments.count // 10),
        "intake": lambda: intake(bench, arguments.seconds),
        "retarget": lambda: retarget(bench, arguments.open),
    }
    for name, part in parts.items():
        if not arguments.only or name in arguments.only:
            await part()
    table = Table(
        "what", "figure", "beside it", title=f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", box=None
    )
    for row in bench.rows:
        table.add_row(*row)
    out.print(table)


@contextmanager
def running_engines() -> Iterator[tuple[Engines, Path]]:
    """Engines of a benchmark's own, and its directory; both are gone at the end."""
    with tempfile.TemporaryDirectory(prefix="support-bench-") as name:
        directory = Path(name)
        engines = provide_engines(directory / "engines")
        try:
            engines.start()
            yield engines, directory
        finally:
            engines.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=["latency", "hop", "judgement", "path", "intake", "retarget"])
    parser.add_argument("--count", type=int, default=60_000, help="tickets in the backlog")
    parser.add_argument("--open", type=int, default=100_000, help="open tickets on which a policy is tried dry")
    parser.add_argument("--singles", type=int, default=200, help="events sent one by one")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each HTTP load")
    arguments = parser.parse_args()
    with running_engines() as (engines, directory):
        asyncio.run(_run(engines, directory, arguments))


if __name__ == "__main__":
    main()
