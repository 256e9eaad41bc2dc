"""Several channels: which one a notification takes and to where, the pace of each way, what is disabled, and outages."""

from shared.runtime.migrate import run_script

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_script(
        """
        alter table notification
            add column channel text not null default 'email',
            add column destination text not null default 'email',
            add column others_asked boolean not null default false,
            add column sent_at timestamptz;
        drop index notification_due;
        create index notification_due on notification (urgent, channel, next_look_at) where next_look_at is not null;
        alter table pace
            add column way text not null default 'email',
            drop constraint pace_pkey,
            add primary key (recipient, lane, mode, way);
        create table disabled_destination (
            name text primary key,
            channel text not null,
            recipient text not null,
            reason text not null,
            disabled_at timestamptz not null
        );
        create table paging_outage (
            since timestamptz not null,
            told_at timestamptz not null,
            ended_at timestamptz
        );
        create unique index paging_outage_open on paging_outage ((true)) where ended_at is null;
        """
    )
