"""Timers by lane, those that were put off, and vacuum before the wide table grows."""

from shared.runtime.migrate import run_script

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # Tickets that were with safety at any time begin in its lane (0); the next change of each sets it right.
    run_script(
        """
        alter table timer add column lane smallint not null default 1;
        alter table timer add column is_put_off boolean not null default false;
        update timer set lane = 0 from ticket_clock as kept
        where kept.ticket_id = timer.ticket_id and position('"care":"safety"'::bytea in kept.document) > 0;
        create index timer_due_0 on timer (look_at) where lane = 0;
        create index timer_due_1 on timer (look_at) where lane = 1;
        create index timer_put_off on timer (ticket_id) where is_put_off;
        drop index timer_by_time;
        alter table ticket_clock set (
            autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 1,
            toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000
        );
        """
    )
