"""Notifications are listed and sent again by time and audience, too."""

from shared.runtime.migrate import run_script

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_script(
        """
        alter table notification add column audience text;
        update notification set audience = substring(convert_from(document, 'utf8') from '"audience":"([a-z_]+)"');
        alter table notification alter column audience set not null;
        create index notification_made on notification (created_at, id);
        """
    )
