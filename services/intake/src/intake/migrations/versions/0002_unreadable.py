"""Bodies that nobody could read go sealed to the vault of the safety-bridge; none is kept here (S5)."""

from shared.runtime.migrate import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_script("drop table unreadable;\n")
