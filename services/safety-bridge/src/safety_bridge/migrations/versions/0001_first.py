"""Incidents and the names under which they are known."""

from shared.messaging.schema import MESSAGING_TABLES
from shared.runtime.migrate import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_script(MESSAGING_TABLES)
    run_script(
        """
        create table incident (
            ref text primary key,
            document jsonb not null,
            version integer not null,
            next_page_at timestamptz,
            opened_at timestamptz not null
        );
        create index incident_to_page on incident (next_page_at) where next_page_at is not null;
        create index incident_opened on incident (opened_at);
        create table incident_alias (
            identity bytea primary key,
            kind text not null,
            name text,
            ref text not null references incident
        );
        create index incident_alias_name on incident_alias (kind, name);
        create index incident_alias_ref on incident_alias (ref);
        """
    )
