"""What was told of each incident, as it was told: codes only. It answers why somebody was or was not paged."""

from shared.runtime.migrate import run_script

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_script(
        """
        create table told (
            incident_ref text not null,
            at timestamptz not null,
            seq bigint generated always as identity,
            fact text not null,
            data jsonb not null,
            primary key (incident_ref, at, seq)
        );
        """
    )
