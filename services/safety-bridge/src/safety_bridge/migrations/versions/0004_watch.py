"""The watch over feeds, storms, and what is told once only."""

from shared.runtime.migrate import run_script

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_script(
        """
        create table feed (
            source text primary key,
            armed_at timestamptz not null,
            looked_at timestamptz not null,
            heard_at timestamptz,
            highest bigint,
            silence_told integer not null default 0,
            told_at timestamptz,
            checked_to bigint,
            due_to bigint,
            due_since timestamptz
        );
        create table feed_number (
            source text not null,
            number bigint not null,
            primary key (source, number)
        );
        create table storm (
            started_at timestamptz primary key,
            last_over_at timestamptz not null,
            ended_at timestamptz
        );
        create table told_once (
            key text primary key,
            told_at timestamptz not null
        );
        """
    )
