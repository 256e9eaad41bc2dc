"""The page to read first: which event goes to which handler, which timers and routes exist; all wiring."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from safety_bridge import api
from safety_bridge.custody import VaultCustody
from safety_bridge.domain.handover import reachable_at
from safety_bridge.domain.paging import lanes_without_end, roles_nobody_knows
from safety_bridge.handlers import (
    KINDS,
    is_routed_to_safety,
    on_agent_signal,
    on_heartbeat,
    on_routing_assigned,
    on_routing_refused,
    on_unhandled_routing,
    on_unreadable,
)
from safety_bridge.settings import SafetyBridgeSettings
from safety_bridge.store import SafetyUnit
from safety_bridge.timers import (
    Coverage,
    SelfProof,
    destroy_what_is_due,
    look_after_the_watch,
    page_who_is_due,
    publish_audit_head,
    rewrap_keys,
)
from shared.directory import OnCallRole
from shared.events.agent import SafetyAgentHeartbeat, SafetyTicketFlagged, SafetyUnreadable
from shared.events.envelope import Event, Received
from shared.events.routing import RoutingAssigned, RoutingRefused
from shared.events.topics import AGENT, ROUTING, Lane
from shared.messaging.consumer import Consumer
from shared.messaging.dead_letter_api import dead_letter_routes
from shared.messaging.kafka import Kafka
from shared.messaging.outbox import Relay
from shared.messaging.ticker import Ticker
from shared.messaging.unit_of_work import UnitsOfWork
from shared.runtime.beat import Beat
from shared.runtime.database import Connection, Database
from shared.runtime.directory_file import LOOK_SECONDS, DirectoryFile
from shared.runtime.http import create_api
from shared.runtime.lifecycle import App, Part
from shared.runtime.now import Now
from shared.runtime.settings import ApiKeys

NAME = "safety-bridge"
COVERAGE_SECONDS = 60.0
PROOF_SECONDS = 10.0
Handler = Callable[[Received[Any], SafetyUnit], None]

SUBSCRIPTIONS: Mapping[type[Event], Handler] = {
    **dict.fromkeys(KINDS, on_agent_signal),
    SafetyTicketFlagged: on_agent_signal,
    SafetyAgentHeartbeat: on_heartbeat,
    SafetyUnreadable: on_agent_signal,
    RoutingAssigned: on_routing_assigned,
    RoutingRefused: on_routing_refused,
}


def build(settings: SafetyBridgeSettings, *, now: Now, kafka: Kafka, bulk: Database, urgent: Database) -> App:
    """The safety-bridge, wired. Signals, pages and commands have connections of their own: they wait behind nothing, nor does
    a signal behind one of its key that failed, since what is known is joined in any order (S1, S6).
    """
    policy = settings.policy()
    file = DirectoryFile(settings.directory_file)
    coverage = Coverage(lambda: file.directory, policy, now)
    keys = settings.keys()
    relays = {lane: Relay(urgent if lane is Lane.URGENT else bulk, kafka, lane) for lane in Lane}

    def wake(lane: Lane) -> None:
        relays[lane].wake()

    def make(connection: Connection, at: datetime) -> SafetyUnit:
        directory = file.directory
        staff, environment = directory.staff(), settings.environment
        return SafetyUnit(
            connection,
            at,
            policy=policy,
            directory=directory,
            staff=staff,
            keys=keys,
            environment=environment,
        )

    urgent_units = UnitsOfWork(urgent, make, now=now, wake=wake)
    bulk_units = UnitsOfWork(bulk, make, now=now, wake=wake)
    signals = Consumer(
        "support.safety-bridge",
        [AGENT],
        SUBSCRIPTIONS,
        urgent_units,
        kafka,
        keeps_order=False,
        unreadable=on_unreadable,
        custody=VaultCustody(),
    )
    routed = Consumer(
        "support.safety-bridge.routing",
        [ROUTING],
        SUBSCRIPTIONS,
        bulk_units,
        kafka,
        keeps_order=False,
        concerns=is_routed_to_safety,
        unreadable=on_unhandled_routing,
    )
    proof = SelfProof(urgent, kafka, now, Beat(settings.safety_beat_url, now), group=signals.group)
    pages = Ticker("pages", partial(page_who_is_due, urgent_units))
    self_proof = Ticker("self-proof", proof.look, every_seconds=PROOF_SECONDS)
    look_after = partial(look_after_the_watch, urgent_units, settings.safety_feeds, proof.is_behind)
    watching = Ticker("watch", look_after, every_seconds=5.0)
    heads = Ticker("audit-heads", partial(publish_audit_head, urgent_units, settings.audit_heads_file), every_seconds=5)
    retention = Ticker("retention", partial(destroy_what_is_due, bulk_units), every_seconds=60)
    rewrap = Ticker("master-keys", partial(rewrap_keys, bulk_units), every_seconds=3600)
    parts_of: Mapping[Lane, list[Part]] = {
        Lane.URGENT: [signals, pages, self_proof, watching, heads, relays[Lane.URGENT]],
        Lane.BULK: [routed, retention, rewrap, relays[Lane.BULK]],
    }
    parts: list[Part] = [
        *(part for lane in settings.lanes() for part in parts_of[lane]),
        Ticker("directory-file", file.look, every_seconds=LOOK_SECONDS),
        Ticker("coverage", coverage.look, every_seconds=COVERAGE_SECONDS),
    ]

    def roles_of(person: str, at: datetime) -> tuple[str, ...]:
        return tuple(role for role in OnCallRole if any(one.id == person for one in file.directory.on_duty(role, at)))

    def directory_check() -> str | None:
        if unknown := roles_nobody_knows(policy, frozenset(OnCallRole)):
            return f"the policy pages roles that the directory does not know: {', '.join(unknown)}"
        silent = lanes_without_end(policy, reachable_at(file.directory, now()))
        return f"nobody to reach at the end of: {', '.join(silent)}" if silent else coverage.last_responder_missing()

    degraded: dict[str, Callable[[], str | None]] = {"directory_file": file.refused, "coverage": coverage.gaps}
    if self_proof in parts:
        degraded["self_proof"] = proof.doubt
    http = create_api(
        NAME,
        keys=ApiKeys(settings.api_keys),
        checks={"directory": directory_check} | {part.name: part.failing for part in parts},
        degraded=degraded,
    )
    http.include_router(api.routes(urgent_units, policy, roles_of))
    http.include_router(dead_letter_routes([signals, routed], bulk))
    return App(http, parts)
