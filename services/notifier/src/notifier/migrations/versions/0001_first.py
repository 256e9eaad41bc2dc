"""What is known of tickets, what somebody should be told, and the tables of delivery."""

from shared.messaging.schema import MESSAGING_TABLES
from shared.runtime.migrate import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_script(MESSAGING_TABLES)
    run_script(
        """
        create table ticket_context (
            ticket_id text primary key,
            version integer not null,
            document bytea not null
        );
        create table notification (
            id text primary key,
            urgent boolean not null,
            state text not null,
            reason text,
            next_look_at timestamptz,
            ticket_id text,
            incident_ref text,
            created_at timestamptz not null,
            document bytea not null
        ) with (autovacuum_vacuum_scale_factor = 0.02);
        create index notification_due on notification (urgent, next_look_at) where next_look_at is not null;
        create index notification_of_ticket on notification (ticket_id, created_at) where ticket_id is not null;
        create index notification_of_incident on notification (incident_ref)
            where incident_ref is not null and state in ('queued', 'sending');
        create index notification_held on notification (created_at, id)
            where state = 'held' or (state = 'suppressed' and reason = 'safety_ticket');
        """
    )
