"""The audit chain and its published heads; what is sealed, and the key of each incident."""

from alembic import op

from shared.runtime.migrate import run_script

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_script(
        """
        create table audit (
            seq bigint primary key,
            at timestamptz not null,
            incident_ref text not null,
            type text not null,
            event_id text not null,
            actor text not null,
            role text not null,
            reason text not null,
            commitment bytea not null,
            prev_hash bytea not null unique,
            prev_of_incident bytea not null,
            row_hash bytea not null
        );
        create index audit_of_incident on audit (incident_ref, seq);
        create table audit_head (
            minute timestamptz primary key,
            count bigint not null,
            row_hash bytea not null
        );
        create table incident_key (
            incident_ref text primary key,
            wrapped bytea,
            delete_after timestamptz not null,
            look_at timestamptz,
            held_by text
        );
        create index incident_key_look on incident_key (look_at) where look_at is not null;
        create table secret (
            id bigint generated always as identity primary key,
            incident_ref text not null references incident_key,
            kind text not null,
            place text,
            at timestamptz not null,
            sealed bytea not null
        );
        create index secret_of_incident on secret (incident_ref);
        create index secret_of_place on secret (place) where place is not null;
        create index incident_continues on incident ((document->>'continues_in'))
            where document->>'continues_in' is not null;
        """
    )
    op.execute(
        """
        create function audit_is_only_added_to() returns trigger language plpgsql as
        $$ begin raise exception 'the audit is only ever added to'; end $$
        """
    )
    for table in ("audit", "audit_head"):
        op.execute(
            f"create trigger only_added_to before update or delete or truncate on {table} "
            "for each statement execute function audit_is_only_added_to()"
        )
        op.execute(f"revoke update, delete, truncate on {table} from current_user")
