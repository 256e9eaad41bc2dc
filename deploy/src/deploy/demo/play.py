"""Plays the sample day and shows each journey as a table."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.demo.installation import Installation
from deploy.demo.journey import Journey, System, Unexpected
from deploy.demo.sample_day import DAY, Part

WIDTH_WITHOUT_TERMINAL = 150


async def play(installation: Installation, day: Sequence[Part] = DAY) -> bool:
    """Whether every journey ended as expected."""
    out = Console(highlight=False)
    if not out.is_terminal:
        out.width = WIDTH_WITHOUT_TERMINAL
    failed: list[str] = []
    async with System(installation) as system:
        for part in day:
            journey = Journey((part.__doc__ or "").strip(), system)
            reason = None
            try:
                await part(journey)
            except Unexpected as unexpected:
                reason = str(unexpected)
                failed.append(f"{journey.title}: {reason}")
            out.print(_table(journey, reason))
    out.print(_where_to_look(installation))
    for line in failed:
        out.print(f"NOT AS EXPECTED  {line}", markup=False)
    out.print(f"{len(day) - len(failed)} of {len(day)} journeys ended as expected.")
    return not failed


def _table(journey: Journey, reason: str | None) -> Table:
    title = escape(f"{journey.title}  [{journey.name}]")
    table = Table("after", "where", "what", title=title, title_justify="left")
    for step in journey.steps:
        table.add_row(f"{step.after.total_seconds():.2f} s", step.where, escape(step.what))
    if reason is not None:
        table.add_row("", "NOT AS EXPECTED", escape(reason), style="bold red")
    return table


def _where_to_look(installation: Installation) -> Table:
    table = Table("where to look", "address")
    table.add_row("the mails, in a browser", installation.mail_url)
    for service, url in installation.services.items():
        table.add_row(f"{service}: API", f"{url}/docs")
    table.add_row("the topics", f"{installation.kafka} (supportctl tail, supportctl ticket ID)")
    return table
