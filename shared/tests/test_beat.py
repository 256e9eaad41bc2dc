"""The beat to the outside watcher: whatever becomes of it is said, and fails nothing else."""

import pytest
from pydantic import SecretStr

from shared.runtime.beat import Beat
from shared.testing.time import FakeNow


@pytest.mark.parametrize(
    "url", ["http://[x", "http://127.0.0.1:99999/", "http://\u2028x/", "http://exa mple/", "https://127.0.0.1:9/"]
)
async def test_a_watcher_that_cannot_be_reached_is_told_and_fails_nothing(url: str) -> None:
    """Whoever looks has told already what it looks for; a slip in a setting must not stop that."""
    assert str(await Beat(SecretStr(url), FakeNow()).send()).startswith("the outside watcher was not reached: ")
