"""THE MAP: topic -> key, events, producers, consumers. Deployment, documentation and tests are checked against it."""

from dataclasses import dataclass
from enum import IntEnum

from shared.events import agent, notification, quality, routing, safety, screening, sla, ticket
from shared.events.envelope import Event, registry


class Lane(IntEnum):
    """Urgent events have their own consumers, relay and connections and wait behind nothing."""

    URGENT = 0
    BULK = 1


@dataclass(frozen=True, slots=True)
class Topic:
    """One stream of facts. `consumers` are consumer groups; each has a dead-letter topic of its own."""

    name: str
    key: str
    partitions: int
    lane: Lane
    events: tuple[type[Event], ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]

    @property
    def types(self) -> dict[str, type[Event]]:
        return registry(self.events)

    def dead_letters(self, group: str) -> str:
        return f"{self.name}.{group}.dlq"


TICKET = Topic(
    "support.ticket.v1",
    "ticket id",
    12,
    Lane.BULK,
    ticket.EVENTS,
    producers=("intake", "safety-bridge"),
    consumers=("support.router", "support.sla-monitor", "support.sla-monitor.quality", "support.notifier"),
)
ROUTING = Topic(
    "support.routing.v1",
    "ticket id",
    12,
    Lane.BULK,
    routing.EVENTS,
    producers=("router",),
    consumers=(
        "support.sla-monitor",
        "support.sla-monitor.quality",
        "support.safety-bridge.routing",
        "support.notifier",
    ),
)
SLA = Topic(
    "support.sla.v1",
    "ticket id",
    12,
    Lane.BULK,
    (*sla.EVENTS, *quality.EVENTS),
    producers=("sla-monitor",),
    consumers=("support.router", "support.sla-monitor.quality", "support.notifier"),
)
AGENT = Topic(
    "safety.agent.v1",
    "agent incident id; of flags the ticket id",
    6,
    Lane.URGENT,
    agent.EVENTS,
    producers=("the Child Safety Agent", "intake"),
    consumers=("support.safety-bridge",),
)
SCREENING = Topic(
    "safety.screening.v1",
    "ticket id",
    6,
    Lane.URGENT,
    screening.EVENTS,
    producers=("router",),
    consumers=(),
)
SAFETY = Topic(
    "support.safety.v1",
    "incident reference; of the audit's heads `audit`",
    6,
    Lane.URGENT,
    safety.EVENTS,
    producers=("safety-bridge",),
    consumers=("support.notifier.urgent",),
)
NOTIFICATION = Topic(
    "support.notification.v1",
    "ticket id or incident reference; of its own health `paging`",
    12,
    Lane.BULK,
    notification.EVENTS,
    producers=("notifier",),
    consumers=(),
)

TOPICS = (TICKET, ROUTING, SLA, AGENT, SCREENING, SAFETY, NOTIFICATION)
TOPIC_OF = {event.wire_type: topic for topic in TOPICS for event in topic.events}
MAX_RECORD_BYTES = 2 * 1024 * 1024
DEAD_LETTER_PARTITIONS = 3
