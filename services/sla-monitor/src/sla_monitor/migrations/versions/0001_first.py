"""Tickets with their clocks, the timers, and what delivery needs."""

from shared.messaging.schema import MESSAGING_TABLES
from shared.runtime.migrate import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_script(MESSAGING_TABLES)
    # The timer is hot: moving `look_at` is never an update in place, so the rows are few bytes and vacuumed early.
    run_script(
        """
        create table ticket_clock (
            ticket_id text primary key,
            version integer not null,
            document bytea not null
        ) with (fillfactor = 80);
        create table timer (
            ticket_id text primary key,
            look_at timestamptz not null
        ) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
                autovacuum_vacuum_cost_delay = 1);
        create index timer_by_time on timer (look_at);
        """
    )
