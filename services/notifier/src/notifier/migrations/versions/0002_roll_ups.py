"""Pages that wait for a roll-up, and how each person was paged lately."""

from shared.runtime.migrate import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_script(
        """
        alter table notification add column rolled_up_in text;
        create index notification_rolled_up on notification (rolled_up_in, created_at)
            where rolled_up_in is not null and state = 'queued';
        create index notification_covered on notification (next_look_at)
            where rolled_up_in is not null and state = 'queued' and next_look_at is not null;
        create index notification_history on notification (incident_ref, created_at) where incident_ref is not null;
        create table pace (
            recipient text not null,
            lane text not null,
            mode text not null,
            document bytea not null,
            primary key (recipient, lane, mode)
        );
        """
    )
