"""Accepted ids, bodies that nobody could read, and the outbox."""

from shared.messaging import outbox
from shared.runtime.migrate import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_script(outbox.SCHEMA)
    run_script(
        """
        create table accepted (
            identity bytea primary key,
            meaning bytea not null,
            forget_at timestamptz not null
        ) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);
        create index accepted_forget on accepted (forget_at);
        create table unreadable (
            event_id text primary key,
            reason text not null,
            producer text not null,
            headers bytea not null,
            body bytea not null,
            received_at timestamptz not null
        );
        """
    )
