"""The texts that messages are written from, as they were when it was decided on these (HD-68)."""

from shared.runtime.migrate import run_script

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_script("create table edition (version text primary key, document bytea not null);")
