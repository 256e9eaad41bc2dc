"""Tickets as routed, the history of decisions, and what delivery needs."""

from shared.messaging.schema import MESSAGING_TABLES
from shared.runtime.migrate import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_script(MESSAGING_TABLES)
    run_script(
        """
        create table ticket (
            ticket_id text primary key,
            version integer not null,
            team text not null,
            level smallint not null,
            document bytea not null
        ) with (fillfactor = 80);
        create index ticket_by_place on ticket (team, level, ticket_id);
        create table decision (
            ticket_id text not null,
            number integer not null,
            wire_type text not null,
            restricted boolean not null,
            document bytea not null,
            primary key (ticket_id, number)
        );
        """
    )
