"""Records of the agent's topic that are set aside: the dead letters keep their place, the vault keeps their bytes (S5, S6)."""

import hashlib
from base64 import b64decode, b64encode
from dataclasses import replace

import orjson

from safety_bridge.store import SafetyUnit
from shared.events.envelope import Record


class VaultCustody:
    """Their key is kept as a digest, which still tells records of one key from others."""

    def withhold(self, record: Record) -> Record:
        return replace(record, key=hashlib.blake2b(record.key, digest_size=16).digest(), value=b"", headers=())

    async def restore(self, unit: SafetyUnit, record: Record) -> Record:
        kept = await unit.vault.open_place(unit.connection, place_of(record))
        return record if kept is None else _unpacked(record, kept)


def place_of(record: Record) -> str:
    """Where it came from, which no other record has."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def packed(record: Record) -> bytes:
    """Key, headers and value, byte for byte."""
    headers = [[name, b64encode(value).decode()] for name, value in record.headers]
    return orjson.dumps({"key": _text(record.key), "headers": headers, "value": _text(record.value)})


def _unpacked(record: Record, kept: bytes) -> Record:
    said = orjson.loads(kept)
    headers = tuple((name, b64decode(value)) for name, value in said["headers"])
    return replace(record, key=b64decode(said["key"]), value=b64decode(said["value"]), headers=headers)


def _text(value: bytes) -> str:
    return b64encode(value).decode()
