"""The rules that clocks keep, and where a merged ticket goes on."""

from alembic import op

from shared.runtime.migrate import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    if op.get_bind().exec_driver_sql("select 1 from ticket_clock limit 1").first():
        raise RuntimeError(
            "clocks from before 0.1 cannot be read: drop the schema sla_monitor and reset the group support.sla-monitor to the "
            "beginning, so that they are counted anew"
        )
    run_script(
        """
        alter table ticket_clock add column merged_into text;
        create table rules (
            policy_version text not null,
            calendar text not null,
            clocks text not null,
            compiled bytea not null,
            primary key (policy_version, calendar)
        );
        """
    )
