"""What is kept of each ticket to judge how it was served, and what it contributes to the figures (Q)."""

from shared.runtime.migrate import run_script

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # Lengths are whole microseconds: sums of them do not depend on the order of the rows (Q4).
    run_script(
        """
        create table quality_record (
            ticket_id text primary key,
            version integer not null,
            part_of text[],
            document bytea not null
        ) with (fillfactor = 80);
        create index quality_record_part_of on quality_record using gin (part_of) where part_of is not null;
        create table quality_figure (
            ticket_id text primary key,
            requester text not null,
            tier text not null,
            category text,
            team text,
            created_at timestamptz not null,
            answered_at timestamptz,
            response_elapsed bigint,
            response_business bigint,
            is_closed boolean not null,
            resolved_at timestamptz,
            resolution_elapsed bigint,
            resolution_business bigint,
            is_reopened boolean not null,
            is_first_contact boolean not null,
            first_contact_until timestamptz,
            resolutions timestamptz[] not null,
            scores smallint[] not null,
            entered_above boolean not null,
            is_raised boolean not null,
            is_handed_over boolean not null,
            entered text[] not null,
            raised_from text[] not null
        ) with (fillfactor = 80);
        create index quality_figure_created on quality_figure (created_at);
        create index quality_figure_resolved on quality_figure (resolved_at);
        create index quality_figure_requester on quality_figure (requester, category, created_at);
        """
    )
