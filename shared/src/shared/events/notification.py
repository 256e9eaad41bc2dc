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
    late_by_seconds: float | None = None
    """Of a page that went out although it, or the pages before it, could reach nobody for a while: how long (S4)."""
    resend_of: str | None = None
    """The notification that a person has sent once more by this one."""

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


class PagingHealth(Event):
    """Whether pages reach people at all. `since`: when the first page was due that nobody got (S4)."""

    occurred_at: Instant
    emitted_at: Instant
    clauses: tuple[str, ...]
    policy_version: str
    since: Instant
    lasted_seconds: float

    @property
    def key(self) -> str:
        return "paging"


class NotificationPagingDegraded(PagingHealth):
    """Pages are tried and reach nobody."""

    wire_type = "com.storytailor.support.notification.paging_degraded.v1"


class NotificationPagingRestored(PagingHealth):
    """Every page that waited has reached somebody, or is over."""

    wire_type = "com.storytailor.support.notification.paging_restored.v1"


EVENTS: tuple[type[Event], ...] = (
    NotificationQueued,
    NotificationSent,
    NotificationFailed,
    NotificationHeld,
    NotificationSuppressed,
    NotificationSuperseded,
    NotificationExpired,
    NotificationPagingDegraded,
    NotificationPagingRestored,
)
