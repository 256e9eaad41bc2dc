"""Every series that a service tells stands in docs/metrics.md, and nothing else does."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_every_series_is_documented_and_every_documented_one_is_told() -> None:
    sources = [*REPOSITORY.glob("services/*/src/**/*.py"), *REPOSITORY.glob("shared/src/**/*.py")]
    told = {name for path in sources for name in re.findall(r'"(support_[a-z_]+)"', path.read_text())}
    documented = set(re.findall(r"`(support_[a-z_]+)`", (REPOSITORY / "docs/metrics.md").read_text()))
    assert told
    assert told == documented
