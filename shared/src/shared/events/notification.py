"""`support.notification.v1`: the outcome of everything that somebody should be told."""

from shared.events.envelope import Event, Identifier, Instant


class NotificationEvent(Event):
    """`template` is a neutral code for safety (S5), `edition` the version of the texts it is written from; `missing` names
    facts, never values (T2).
    """

    notification_id: str
    ticket_id: Identifier | None = None
    incident_ref: Identifier | None = None
    occurred_at: Instant
    emitted_at: Instant
    clauses: tuple[str, ...]
    policy_version: str
    channel: str
    template: str
    edition: str | None = None
    audience: str
    attempt: int = 0
    missing: tuple[str, ...] = ()
    covered_by: str | None = None
    reason_code: str | None = None

    @property
    def key(self) -> str:
        return self.ticket_id or self.incident_ref or self.notification_id


class NotificationQueued(NotificationEvent):
    wire_type = "com.storytailor.support.notification.queued.v1"


class NotificationSent(NotificationEvent):
    wire_type = "com.storytailor.support.notification.sent.v1"


class NotificationFailed(NotificationEvent):
    wire_type = "com.storytailor.support.notification.failed.v1"


class NotificationHeld(NotificationEvent):
    wire_type = "com.storytailor.support.notification.held.v1"


class NotificationSuppressed(NotificationEvent):
    wire_type = "com.storytailor.support.notification.suppressed.v1"


class NotificationSuperseded(NotificationEvent):
    wire_type = "com.storytailor.support.notification.superseded.v1"


class NotificationExpired(NotificationEvent):
    wire_type = "com.storytailor.support.notification.expired.v1"


EVENTS: tuple[type[NotificationEvent], ...] = (
    NotificationQueued,
    NotificationSent,
    NotificationFailed,
    NotificationHeld,
    NotificationSuppressed,
    NotificationSuperseded,
    NotificationExpired,
)
