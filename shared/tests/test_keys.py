"""Sealing: what was sealed opens with its key, for its own matter, unchanged; else not at all."""

from base64 import b64encode
from pathlib import Path

import pytest

from shared.runtime.keys import CannotOpen, MasterKeys, new_key, seal, unseal


def test_what_is_sealed_opens_with_its_key_alone() -> None:
    """S5: neither another key, nor another matter, nor a changed byte."""
    key = new_key()
    sealed = seal(key, b"words", "SI-1")
    assert unseal(key, sealed, "SI-1") == b"words"
    assert b"words" not in sealed
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for wrong in ((new_key(), sealed, "SI-1"), (key, sealed, "SI-2"), (key, changed, "SI-1"), (key, b"", "SI-1")):
        with pytest.raises(CannotOpen):
            unseal(*wrong)
    assert seal(key, b"words", "SI-1") != sealed


async def test_an_older_master_key_still_unwraps_until_it_is_gone() -> None:
    """The first line of the file wraps; taking the old line out ends what only it could unwrap."""
    old, new = new_key(), new_key()
    wrapped = await MasterKeys([old]).wrap(b"key", "SI-1")
    both = MasterKeys([new, old])
    assert await both.unwrap(wrapped, "SI-1") == b"key"
    assert not wrapped.startswith(both.prefix)
    assert (await both.wrap(b"key", "SI-1")).startswith(both.prefix)
    with pytest.raises(CannotOpen):
        await MasterKeys([new]).unwrap(wrapped, "SI-1")


@pytest.mark.parametrize("content", ["", "not base64!", b64encode(bytes(31)).decode()])
def test_a_file_without_keys_is_refused_and_not_quoted(tmp_path: Path, content: str) -> None:
    """Design 3.4: a bad setting stops the start."""
    file = tmp_path / "master.key"
    file.write_text(content)
    with pytest.raises(ValueError, match="32 bytes in base64") as refused:
        MasterKeys.from_file(file)
    assert not content or content not in str(refused.value)
