"""The commands of `supportctl`."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from console.audit import verify
from console.calendar import check_file
from console.clocks import Clocks
from console.dead_letters import DeadLetters
from console.decisions import Decisions
from console.drill import Drill
from console.ical import NotImported, read_closed_days
from console.incidents import Incidents
from console.promises import Promises
from console.services import Unanswered
from console.settings import ConsoleSettings, Installation, NotFound
from console.timeline import Line, line_of, timeline
from shared.errors import TransientFailure
from shared.events.topics import TOPICS
from shared.messaging.kafka import Kafka
from shared.runtime.now import machine_now

app = typer.Typer(
    help="Ask a running support system.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
dlq = typer.Typer(help="Records set aside: list, look at one, put back.", no_args_is_help=True)
app.add_typer(dlq, name="dlq")
policy = typer.Typer(help="Drafts of the policy: try one on what really happened.", no_args_is_help=True)
app.add_typer(policy, name="policy")
incident = typer.Typer(help="Incidents of child safety: who was paged, and why not.", no_args_is_help=True)
app.add_typer(incident, name="incident")
calendar = typer.Typer(help="The policy's calendar: check it, import closed days. Asks nobody.", no_args_is_help=True)
app.add_typer(calendar, name="calendar")
audit = typer.Typer(help="The audit of the safety-bridge.", no_args_is_help=True)
app.add_typer(audit, name="audit")
out = Console(highlight=False, soft_wrap=True)


@app.command()
def tail(
    topic: Annotated[str, typer.Option(help="Only topics whose name contains this.")] = "",
    beginning: Annotated[bool, typer.Option(help="Everything from the beginning, then go on.")] = False,
) -> None:
    """Show events of all topics as they come, one line each; ids and codes, no customer's words."""
    with _failures_told():
        asyncio.run(_tail(_installation(), topic, beginning))


@app.command()
def ticket(ticket_id: str) -> None:
    """Show everything that happened to a ticket, over all topics."""
    with _failures_told():
        lines = asyncio.run(_timeline(_installation(), ticket_id))
    if not lines:
        out.print(f"nothing is known of {ticket_id}", markup=False)
        raise typer.Exit(1)
    for line in lines:
        _print(line)


@app.command()
def explain(ticket_id: str) -> None:
    """Show why a ticket was decided as it was, with the customer's words that led to it (needs the scope `explain`), and why
    its clocks are due when they are. What one service does not answer is left out; exit status 1 if neither does."""
    with _failures_told():
        installation = _installation()
    failed = 0
    for explained in (Decisions(installation).explain, Clocks(installation).explain):
        try:
            for line in explained(ticket_id):
                out.print(line, markup=False)
        except Unanswered as failure:
            Console(stderr=True).print(str(failure), markup=False)
            failed += 1
    if failed == 2:
        raise typer.Exit(1)


@app.command()
def recompute(ticket_id: str) -> None:
    """Decide a ticket again from the log, by the policy of its time; exit status 1 if the result differs."""
    with _failures_told():
        same, told = Decisions(_installation()).recompute(ticket_id)
    out.print(told, markup=False)
    if not same:
        raise typer.Exit(1)


@policy.command("try")
def try_draft(
    file: Annotated[Path, typer.Argument(help="YAML in the shape of policy.yaml: only what it names changes.")],
    last: Annotated[int, typer.Option(help="On how many of the latest tickets.")] = 1000,
) -> None:
    """Show which of the latest tickets would be routed elsewhere under a changed policy; changes nothing."""
    with _failures_told():
        for line in Decisions(_installation()).try_draft(file, last):
            out.print(line, markup=False)


@policy.command("diff")
def diff_draft(
    file: Annotated[
        Path, typer.Argument(help="A whole policy, or YAML in its shape: then only what it names changes.")
    ],
    lines: Annotated[int, typer.Option(help="So many changes are shown one by one.")] = 20,
) -> None:
    """Show which due times of open tickets would move under a changed policy; changes nothing."""
    with _failures_told():
        for line in Promises(_installation()).diff(file, lines):
            out.print(line, markup=False)


@policy.command()
def retarget(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it would do.")] = False,
    version: Annotated[str | None, typer.Option(help="Refuse unless this version is in force.")] = None,
    lines: Annotated[int, typer.Option(help="So many changes are shown one by one.")] = 20,
) -> None:
    """Bring the clocks of open tickets to the policy in force; asked again it does what is left."""
    with _failures_told():
        for line in Promises(_installation()).retarget(version, lines, dry_run=dry_run):
            out.print(line, markup=False)


@calendar.command("check")
def check_calendar(
    file: Annotated[
        Path | None, typer.Argument(help="A policy file; else the one that ships.", envvar="SUPPORT_POLICY_FILE")
    ] = None,
) -> None:
    """Show everything that is wrong with a policy's calendar, by line; exit status 1 if it would be refused."""
    with _failures_told():
        lines, accepted = check_file(file, machine_now().date())
    for line in lines:
        out.print(line, markup=False)
    if not accepted:
        raise typer.Exit(1)


@calendar.command("import")
def import_calendar(
    file: Annotated[Path, typer.Argument(help="An iCal file (.ics).")],
    first_year: Annotated[int | None, typer.Option(help="This year if not given.")] = None,
    years: Annotated[int, typer.Option(min=1, help="For how many years recurring days are written down.")] = 10,
) -> None:
    """Print the all-day events of an iCal file as `closed_days` to paste into the policy; what it leaves out goes to stderr."""
    first = first_year if first_year is not None else machine_now().year
    with _failures_told():
        found = read_closed_days(file, range(first, first + years))
    for line in found.left_out:
        Console(stderr=True).print(f"left out: {line}", markup=False)
    out.print(found.as_yaml(), markup=False)


@incident.command("explain")
def explain_incident(
    incident_ref: str,
    person: Annotated[str, typer.Option(help="The person's id in the directory.")],
    at: Annotated[datetime, typer.Option(help="The minute, in UTC.", formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])],
) -> None:
    """Show why a person was or was not paged in that minute: the rule and the rows, and what became of the page."""
    with _failures_told():
        for line in Incidents(_installation()).explain(incident_ref, person, at.replace(tzinfo=UTC)):
            out.print(line, markup=False)


@app.command()
def drill(
    acknowledge_as: Annotated[
        str | None, typer.Option(help="Acknowledge it at the end in the name of this person.")
    ] = None,
    role: Annotated[str, typer.Option(help="The role in which to acknowledge.")] = "primary",
    within: Annotated[float, typer.Option(help="Seconds to wait for the incident, and for its pages.")] = 60.0,
) -> None:
    """Run an exercise through the whole chain: a signal by the fast lane, an incident, pages to the people on duty. Whoever is
    paged reads DRILL first; it pages again until somebody acknowledges. Exit status 1 if nobody was reached."""
    with _failures_told():
        for line in Drill(_installation(), within_seconds=within).run(acknowledge_as=acknowledge_as, role=role):
            out.print(line, markup=False)


@app.command()
def corrections(days: Annotated[int, typer.Option(help="How far back.")] = 30) -> None:
    """Show what people corrected: where the classifier was wrong."""
    with _failures_told():
        for line in Decisions(_installation()).corrections(days):
            out.print(line, markup=False)


@dlq.command("list")
def list_letters(service: Annotated[str | None, typer.Option(help="Only this service's.")] = None) -> None:
    """List what was set aside, oldest first."""
    table = Table("name", "code", "state", "topic", "offset", "key", "tries", "since (UTC)", box=None, pad_edge=False)
    with _failures_told():
        for letter in DeadLetters(_installation()).find(service):
            f = letter.fields
            place = f"{f['partition']}@{f['offset']}"
            cells = (letter.name, f["code"], f["state"], f["topic"], place, f["key"], f["attempts"], f["created_at"])
            table.add_row(*map(str, cells))
    out.print(table if table.row_count else "no dead letters")


@dlq.command()
def show(letter: str) -> None:
    """Show one record with its headers and bytes: it may hold a customer's words."""
    with _failures_told():
        fields = DeadLetters(_installation()).get(letter).fields
    for name, value in fields.items():
        out.print(f"{name}: {value}", markup=False)


@dlq.command()
def redrive(
    letters: Annotated[list[str] | None, typer.Argument(help="Names as `dlq list` shows them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are set aside.")] = False,
    service: Annotated[str | None, typer.Option(help="With --all: only this service's.")] = None,
) -> None:
    """Put records back through their handlers; a parked one brings all parked records of its ticket, in order."""
    with _failures_told():
        found = DeadLetters(_installation())
        names = [letter.name for letter in found.find(service)] if everything else letters
        if names is None:
            raise Unanswered("name the records to put back, or say --all")
        handled, failing = found.redrive(names)
    out.print(f"handled {handled}, still failing {failing}")
    if failing:
        raise typer.Exit(1)


@audit.command("verify")
def verify_audit(
    database: Annotated[
        str | None,
        typer.Option(help="The bridge's database; else that of the running system.", envvar="SUPPORT_DATABASE_URL"),
    ] = None,
    heads: Annotated[Path | None, typer.Option(help="A file of published heads to compare with too.")] = None,
    topic: Annotated[bool, typer.Option(help="Compare with the heads and events on the restricted topic.")] = True,
) -> None:
    """Check that no row of the audit was changed, removed, inserted or moved; exit status 1, and what is broken, if one was."""
    with _failures_told():
        found = None if database and not topic else _installation()
        url = database or (found.database.get_secret_value() if found and found.database else None)
        if url is None:
            raise Unanswered("say --database: nothing here tells where it is")
        verdict = asyncio.run(verify(url, kafka=_kafka(found) if found and topic else None, heads_file=heads))
    for fault in verdict.faults:
        out.print(fault, markup=False)
    compared = f"{verdict.rows} rows, compared with {verdict.heads} published heads and {verdict.events} events"
    out.print(f"{compared}: {f'{len(verdict.faults)} faults' if verdict.faults else 'whole'}", markup=False)
    if verdict.faults:
        raise typer.Exit(1)


async def _tail(installation: Installation, part: str, beginning: bool) -> None:
    topics = [topic.name for topic in TOPICS if part in topic.name]
    if not topics:
        raise Unanswered(f"no topic's name contains {part}")
    async with _kafka(installation).watcher(topics) as watcher:
        if beginning:
            for record in sorted(await watcher.everything(), key=lambda record: record.timestamp):
                _print(line_of(record))
        else:
            await watcher.skip_to_end()
        async for record in watcher.follow():
            _print(line_of(record))


async def _timeline(installation: Installation, ticket_id: str) -> list[Line]:
    names = [topic.name for topic in TOPICS] + [t.dead_letters(group) for t in TOPICS for group in t.consumers]
    async with _kafka(installation).watcher(names) as watcher:
        return timeline(ticket_id, await watcher.everything())


def _print(line: Line) -> None:
    out.print(f"{line.at}  {line.topic:24} {line.key:20} {line.fact:32} {line.detail}", markup=False)


def _kafka(installation: Installation) -> Kafka:
    return Kafka(installation.kafka, topic_prefix=installation.topic_prefix, client_id="supportctl")


def _installation() -> Installation:
    return ConsoleSettings().installation()


@contextmanager
def _failures_told() -> Iterator[None]:
    """A sentence and exit status 1 instead of a trace."""
    try:
        yield
    except (NotFound, NotImported, Unanswered, TransientFailure) as failure:
        Console(stderr=True).print(str(failure), markup=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
