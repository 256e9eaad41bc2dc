"""Keys: what must not be read by everybody is sealed with a key of its own, and that key is wrapped by the installation's.

AES-256 in Galois/counter mode, a fresh nonce for every sealing; `about` is bound in, so that nothing sealed can pass for
something else. Destroying a wrapped key destroys what it sealed, in every copy of the tables.
"""

import secrets
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import AfterValidator

KEY_BYTES = 32
NONCE_BYTES = 12
NAME_BYTES = 4


class CannotOpen(Exception):  # noqa: N818
    """It was sealed with another key, is about something else, or was changed."""


class KeyService(Protocol):
    """Wraps keys with one that never leaves it: a file of ours, or a service of somebody else's."""

    @property
    def prefix(self) -> bytes:
        """What everything begins with that is wrapped now; what begins otherwise was wrapped by an older key."""

    async def wrap(self, key: bytes, about: str) -> bytes: ...

    async def unwrap(self, wrapped: bytes, about: str) -> bytes:
        """
        Raises:
            CannotOpen: it was wrapped by a key that is no longer there, or for something else.
        """


class MasterKeys:
    """The installation's master keys. The first wraps; the others still unwrap what was wrapped before."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {_name(key): key for key in keys}
        self.prefix = _name(keys[0])

    @classmethod
    def from_file(cls, file: Path) -> Self:
        """One key of 32 bytes in base64 a line, the newest first.

        Raises:
            OSError: it cannot be read.
            ValueError: it holds no key, or something else; the message quotes nothing of it.
        """
        try:
            keys = [b64decode(line, validate=True) for line in file.read_text().split()]
        except (NotBase64, UnicodeDecodeError):
            keys = []
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError("must hold keys of 32 bytes in base64, one a line")
        return cls(keys)

    def seal(self, value: bytes, about: str) -> bytes:
        """Any value, sealed with the first key itself: for what goes to somebody who has these keys too."""
        return self.prefix + seal(self._keys[self.prefix], value, about)

    async def wrap(self, key: bytes, about: str) -> bytes:
        return self.seal(key, about)

    async def unwrap(self, wrapped: bytes, about: str) -> bytes:
        key = self._keys.get(wrapped[:NAME_BYTES])
        if key is None:
            raise CannotOpen
        return unseal(key, wrapped[NAME_BYTES:], about)


def _holding_keys(file: Path) -> Path:
    try:
        MasterKeys.from_file(file)
    except OSError:
        raise ValueError("the file cannot be read") from None
    return file


MasterKeyFile = Annotated[Path, AfterValidator(_holding_keys)]
"""A setting: keys of 32 bytes in base64, one a line, the newest first."""


def new_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def seal(key: bytes, value: bytes, about: str) -> bytes:
    """The value sealed; its nonce comes first."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, value, about.encode())


def unseal(key: bytes, sealed: bytes, about: str) -> bytes:
    """
    Raises:
        CannotOpen: another key, another matter, or not as it was sealed.
    """
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about.encode())
    except (InvalidTag, ValueError):
        raise CannotOpen from None


def _name(key: bytes) -> bytes:
    return sha256(b"name of a master key" + key).digest()[:NAME_BYTES]
