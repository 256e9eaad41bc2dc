"""The directory file at run time: edits count within seconds, bad ones not at all."""

from pathlib import Path

import pytest

from shared.directory import Directory, InvalidDirectory
from shared.runtime.directory_file import DirectoryFile

DEMO = (Path(__file__).parents[2] / "deploy/src/deploy/directory.yaml").read_text()
UNPAGEABLE = DEMO.replace(
    "{id: on-call-1, name: Robin, email: on-call-1@storytailor.example}", "{id: on-call-1, name: Robin}"
)


async def test_an_edit_counts_and_a_bad_one_is_refused_while_the_last_good_one_stays(tmp_path: Path) -> None:
    """SN-09: the same edit that stops a start is refused at run time, naming the rule and the person, no address."""
    path = tmp_path / "directory.yaml"
    path.write_text(DEMO)
    file = DirectoryFile(path)
    for text, name in (
        (DEMO.replace("on-call-1", "on-call-9"), "on-call-9"),
        (UNPAGEABLE, "on-call-9"),
        (DEMO, "on-call-1"),
    ):
        path.write_text(text)
        await file.look()
        assert file.directory.on_call["primary"][0].id == name
        if text is UNPAGEABLE:
            assert "on-call-1 has no verified urgent channel" in str(file.refused())
            assert "@" not in str(file.refused())
        else:
            assert file.refused() is None


async def test_an_edit_that_this_service_cannot_use_is_refused_like_a_bad_one(tmp_path: Path) -> None:
    """Not at three in the morning, when the page cannot be sent."""

    def check(directory: Directory) -> None:
        if directory.on_call["primary"][0].id == "on-call-9":
            raise InvalidDirectory("on-call-9: cannot be reached from here")

    path = tmp_path / "directory.yaml"
    path.write_text(DEMO)
    file = DirectoryFile(path, check=check)
    path.write_text(DEMO.replace("on-call-1", "on-call-9"))
    await file.look()
    assert "on-call-9: cannot be reached from here" in str(file.refused())
    assert file.directory.on_call["primary"][0].id == "on-call-1"
    with pytest.raises(InvalidDirectory, match="on-call-9"):
        DirectoryFile(path, check=check)


async def test_a_file_that_goes_away_changes_nothing_until_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "directory.yaml"
    path.write_text(DEMO)
    file = DirectoryFile(path)
    path.unlink()
    await file.look()
    assert "cannot be read" in str(file.refused())
    assert file.directory.on_call["primary"][0].id == "on-call-1"
    path.write_text(DEMO)
    await file.look()
    assert file.refused() is None


def test_the_first_reading_must_succeed(tmp_path: Path) -> None:
    """SN-09: a service does not start with it."""
    path = tmp_path / "directory.yaml"
    with pytest.raises(OSError, match="directory"):
        DirectoryFile(path)
    path.write_text(UNPAGEABLE)
    with pytest.raises(InvalidDirectory, match="on-call-1"):
        DirectoryFile(path)
