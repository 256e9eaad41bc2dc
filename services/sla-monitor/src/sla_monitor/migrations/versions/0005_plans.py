"""What is told as time passes stands beside each ticket, and each timer says which looks told it."""

from shared.runtime.migrate import run_script

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # Tickets without a plan are looked at by their facts, which makes one. A timer without a next look only says what was told.
    run_script(
        """
        alter table ticket_clock add column plan bytea;
        alter table timer add column looks timestamptz[], alter column look_at drop not null;
        """
    )
