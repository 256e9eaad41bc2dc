"""The page to read first: which event goes to which handler, and what runs in this process."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any

import structlog
import yaml

from notifier.api import notification_routes
from notifier.domain.check import faults_of
from notifier.domain.desk import Desk
from notifier.domain.gate import Gate
from notifier.domain.hours import Hours
from notifier.domain.notification import Channel
from notifier.domain.templates import Templates
from notifier.domain.wording import SOURCE_LANGUAGE, Edition
from notifier.handlers import (
    on_clock_moved,
    on_incident_acknowledged,
    on_page_requested,
    on_routing_assigned,
    on_routing_deescalated,
    on_routing_escalated,
    on_routing_refused,
    on_sla_breached,
    on_sla_corrected,
    on_sla_warning,
    on_ticket_closed,
    on_ticket_created,
    on_ticket_message_added,
    on_ticket_reopened,
    on_ticket_resolved,
    on_ticket_restricted,
    on_watch_event,
)
from notifier.paging_watch import PagingWatch
from notifier.senders.apprise import AppriseSender, is_installed
from notifier.senders.destinations import Allowance, Channels, Destinations
from notifier.senders.email import EmailSender
from notifier.senders.guarded_http import GuardedHttp
from notifier.senders.slack import SlackSender
from notifier.senders.webhook import WebhookSender
from notifier.settings import NotifierSettings, mailbox, smtp_server
from notifier.store import NotifierUnit
from notifier.timers import Deliveries
from shared.events.envelope import Event, Received
from shared.events.routing import RoutingAssigned, RoutingDeescalated, RoutingEscalated, RoutingRefused
from shared.events.safety import (
    SafetyFeedGap,
    SafetyFeedSilent,
    SafetyIncidentAcknowledged,
    SafetyPageRequested,
    SafetyStepEmpty,
    SafetyStormStarted,
)
from shared.events.sla import (
    SlaBreached,
    SlaCancelled,
    SlaCorrected,
    SlaFulfilledLate,
    SlaMet,
    SlaPaused,
    SlaResumed,
    SlaRetargeted,
    SlaWarning,
)
from shared.events.ticket import (
    TicketClosed,
    TicketCreated,
    TicketMessageAdded,
    TicketReopened,
    TicketResolved,
    TicketRestricted,
)
from shared.events.topics import ROUTING, SAFETY, SLA, TICKET, Lane
from shared.messaging.consumer import Consumer
from shared.messaging.dead_letter_api import dead_letter_routes
from shared.messaging.kafka import Kafka
from shared.messaging.outbox import Relay
from shared.messaging.second_try import SecondTry
from shared.messaging.ticker import Ticker
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.confidentiality import load_confidentiality
from shared.policy.model import Policy
from shared.runtime.beat import Beat
from shared.runtime.database import Connection, Database
from shared.runtime.directory_file import LOOK_SECONDS, DirectoryFile
from shared.runtime.http import create_api
from shared.runtime.lifecycle import App, Part
from shared.runtime.now import Now
from shared.runtime.settings import ApiKeys

NAME = "notifier"
GROUP = "support.notifier"
URGENT_GROUP = "support.notifier.urgent"
MAILS_AT_ONCE = 16
PAGES_AT_ONCE = 32
SLACK_AT_ONCE = WEBHOOKS_AT_ONCE = 64
"""On the whole channel, all destinations together."""
APPRISE_AT_ONCE = 16
BULK_PAUSE, URGENT_PAUSE = timedelta(seconds=15), timedelta(seconds=2)
"""How long a destination is left alone after five failures in a row; one that is back is paged at once (SN-14)."""
WATCH_SECONDS = 5.0

log = structlog.get_logger()

SUBSCRIPTIONS: Mapping[type[Event], Callable[[Received[Any], NotifierUnit], None]] = {
    TicketCreated: on_ticket_created,
    TicketMessageAdded: on_ticket_message_added,
    TicketResolved: on_ticket_resolved,
    TicketReopened: on_ticket_reopened,
    TicketClosed: on_ticket_closed,
    TicketRestricted: on_ticket_restricted,
    RoutingAssigned: on_routing_assigned,
    RoutingEscalated: on_routing_escalated,
    RoutingDeescalated: on_routing_deescalated,
    RoutingRefused: on_routing_refused,
    SlaWarning: on_sla_warning,
    SlaBreached: on_sla_breached,
    SlaCorrected: on_sla_corrected,
    **dict.fromkeys((SlaMet, SlaFulfilledLate, SlaCancelled, SlaPaused, SlaResumed, SlaRetargeted), on_clock_moved),
    SafetyPageRequested: on_page_requested,
    SafetyIncidentAcknowledged: on_incident_acknowledged,
    **dict.fromkeys((SafetyFeedSilent, SafetyFeedGap, SafetyStormStarted, SafetyStepEmpty), on_watch_event),
}


def build(settings: NotifierSettings, *, now: Now, kafka: Kafka, bulk: Database, urgent: Database) -> App:
    """The notifier, wired. Pages have connections of their own to database and mail server: they wait behind nothing (S6).

    Raises:
        ValueError: there are no texts in the default language.
    """
    directory = DirectoryFile(settings.directory_file, check=settings.check)
    policy = settings.policy()
    edition = read_edition(policy)
    if settings.default_language not in edition.texts:
        raise ValueError(f"SUPPORT_DEFAULT_LANGUAGE: there are texts in {', '.join(sorted(edition.texts))}")
    desk = Desk(
        policy,
        Templates(edition, settings.default_language),
        Gate(load_confidentiality()),
        directory.directory,
        settings.incident_list,
        Hours.of(policy),
        settings.allowed(),
        settings.restricted(),
    )
    faults = list(faults_of(desk, now()))
    for fault in faults:
        log.error("text refused", fault=str(fault))
    desk = replace(desk, refused=frozenset((fault.template, fault.language) for fault in faults))
    relays = {lane: Relay(urgent if lane is Lane.URGENT else bulk, kafka, lane) for lane in Lane}
    ways_out: dict[bool, Deliveries] = {}

    def wake(is_urgent: bool) -> None:
        ways_out[is_urgent].wake()

    def units_on(database: Database) -> UnitsOfWork[NotifierUnit]:
        def make(connection: Connection, at: datetime) -> NotifierUnit:
            return NotifierUnit(connection, at, desk=replace(desk, directory=directory.directory), wake=wake)

        return UnitsOfWork(database, make, now=now, wake=lambda lane: relays[lane].wake())

    units, urgent_units = units_on(bulk), units_on(urgent)
    ways_out[False] = Deliveries(units, channels(settings, now, MAILS_AT_ONCE, BULK_PAUSE), urgent=False)
    ways_out[True] = Deliveries(urgent_units, channels(settings, now, PAGES_AT_ONCE, URGENT_PAUSE), urgent=True)
    health = PagingWatch(urgent_units, Beat(settings.paging_beat_url, now))
    consumer = Consumer(GROUP, [TICKET, ROUTING, SLA], SUBSCRIPTIONS, units, kafka)
    urgent_consumer = Consumer(URGENT_GROUP, [SAFETY], SUBSCRIPTIONS, urgent_units, kafka, keeps_order=False)
    waiting = Ticker("waiting", SecondTry(consumer).retry_waiting)
    reading = Ticker("directory", directory.look, every_seconds=LOOK_SECONDS)
    watching = Ticker("paging", health.look, every_seconds=WATCH_SECONDS)
    parts_of: Mapping[Lane, list[Part]] = {
        Lane.URGENT: [urgent_consumer, ways_out[True], watching, relays[Lane.URGENT]],
        Lane.BULK: [consumer, waiting, ways_out[False], relays[Lane.BULK]],
    }
    parts: list[Part] = [*(part for lane in settings.lanes() for part in parts_of[lane]), reading]
    degraded: dict[str, Callable[[], str | None]] = {"directory_file": directory.refused}
    if watching in parts:
        degraded["paging"] = health.doubt
    api = create_api(
        NAME,
        keys=ApiKeys(settings.api_keys),
        checks={part.name: part.failing for part in parts} | {"texts": lambda: "; ".join(map(str, faults)) or None},
        degraded=degraded,
    )
    api.include_router(notification_routes(units))
    api.include_router(dead_letter_routes([consumer, urgent_consumer], bulk))
    return App(api, parts)


def channels(settings: NotifierSettings, now: Now, mails_at_once: int, left_alone_for: timedelta) -> Channels:
    """The ways out of one lane, which share nothing with those of the other."""
    reply_to = mailbox(settings.mail_reply_to) if settings.mail_reply_to else None
    server = smtp_server(settings.smtp_url.get_secret_value())
    mail = EmailSender(server, mailbox(settings.mail_from), reply_to, connections=mails_at_once)
    slack, hooks = (
        GuardedHttp(now, trusted_hosts=settings.trusted_hosts, connections=at_once)
        for at_once in (SLACK_AT_ONCE, WEBHOOKS_AT_ONCE)
    )

    def allowance(at_once: int, per_second: float | None = None) -> Allowance:
        return Allowance(at_once=at_once, per_second=per_second, left_alone_for=left_alone_for)

    of = {
        Channel.EMAIL: Destinations(mail, allowance(mails_at_once), now, places=mails_at_once),
        Channel.SLACK: Destinations(SlackSender(slack), allowance(4, per_second=1), now, places=SLACK_AT_ONCE),
    }
    if settings.webhook_secrets:
        signed = WebhookSender(hooks, settings.webhook_secrets, now)
        of[Channel.WEBHOOK] = Destinations(signed, allowance(8), now, places=WEBHOOKS_AT_ONCE)
    if is_installed():
        of[Channel.APPRISE] = Destinations(AppriseSender(), allowance(1), now, places=APPRISE_AT_ONCE)
    return Channels(of)


def read_edition(policy: Policy) -> Edition:
    """The texts that ship with the service, a folder for each language, and what the policy says between them.

    Raises:
        ValueError: what a language leaves open cannot be read.
    """
    folder = files("notifier") / "templates"
    languages = {one.name: one for one in folder.iterdir() if one.is_dir()}
    open_in = {name: yaml.safe_load((one / "texts.yaml").read_text()) for name, one in languages.items()}
    open_in[SOURCE_LANGUAGE] |= policy.texts.model_dump()
    return Edition.model_validate(
        {
            "layout": (folder / "layout.html").read_text(),
            "texts": {
                name: {
                    file.name.removesuffix(".txt"): file.read_text()
                    for file in one.iterdir()
                    if file.name.endswith(".txt")
                }
                for name, one in languages.items()
            },
            "leaves_open": open_in,
        }
    )
