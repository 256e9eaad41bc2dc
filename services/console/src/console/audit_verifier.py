"""Checks the audit of the safety-bridge: every link, hash and incident's own chain, the published heads, the events told.

It is written from the description in the runbook and shares no code with what writes the audit, so that one mistake cannot hide
in both. It reads rows in order, once.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

NOTHING_BEFORE = bytes(32)
FIELDS = ("incident_ref", "type", "event_id", "actor", "role", "reason")
HASHES = ("commitment", "prev_hash", "prev_of_incident")


@dataclass(frozen=True, slots=True)
class PublishedHead:
    """What the bridge told of its audit: at this time so many rows, the last with this hash."""

    at: str
    count: int
    row_hash: bytes


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """An event of the restricted topic; a row has to tell of it by its id and the hash of its bytes."""

    id: str
    type: str
    digest: bytes


@dataclass
class Verification:
    """What is known after the rows so far. `faults` are sentences, in the order in which they were met."""

    heads: Iterable[PublishedHead] = ()
    events: Iterable[PublishedEvent] = ()
    faults: list[str] = field(default_factory=list)
    count: int = 0
    _last_seq: int = 0
    _last_hash: bytes = NOTHING_BEFORE
    _of_incident: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    _hash_at: dict[int, bytes | None] = field(default_factory=dict)
    _told: dict[str, bytes | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.heads, self.events = list(self.heads), list(self.events)
        self._hash_at = dict.fromkeys((head.count for head in self.heads), None)
        self._told = dict.fromkeys((event.id for event in self.events), None)

    def take(self, row: Mapping[str, Any]) -> None:
        """The next row, in the order of `seq`."""
        seq = row["seq"]
        if row["row_hash"] != _hash_of(row):
            self.faults.append(f"row {seq} is not what was written: its hash does not fit")
        if seq != self._last_seq + 1:
            self.faults.append(f"rows {self._last_seq + 1} to {seq - 1} are missing")
        if row["prev_hash"] != self._last_hash:
            self.faults.append(f"row {seq} does not follow row {self._last_seq}: the link is broken")
        before_seq, before = self._of_incident.get(row["incident_ref"], (0, NOTHING_BEFORE))
        if row["prev_of_incident"] != before:
            self.faults.append(f"row {seq} does not follow row {before_seq} of {row['incident_ref']}")
        self.count += 1
        self._last_seq, self._last_hash = seq, row["row_hash"]
        self._of_incident[row["incident_ref"]] = (seq, row["row_hash"])
        if seq in self._hash_at:
            self._hash_at[seq] = row["row_hash"]
        if row["event_id"] in self._told:
            self._told[row["event_id"]] = row["commitment"]

    def finish(self) -> list[str]:
        """All that is wrong; nothing if the audit is whole."""
        self.faults.extend(self._against_heads())
        for event in self.events:
            if self._told[event.id] is None:
                self.faults.append(f"no row tells of the event {event.id} ({event.type}), which was published")
            elif self._told[event.id] != event.digest:
                self.faults.append(
                    f"the row of the event {event.id} ({event.type}) tells of other bytes than were published"
                )
        return self.faults

    def _against_heads(self) -> Iterator[str]:
        for head in self.heads:
            found = self._hash_at[head.count]
            if found is None and head.count > self._last_seq:
                yield (
                    f"the audit ends with row {self._last_seq}, but at {head.at} it had {head.count}: "
                    f"the last {head.count - self._last_seq} are gone"
                )
            elif found != head.row_hash:
                yield f"row {head.count} is not the one that was the last at {head.at}: what was written until then was changed"


def _hash_of(row: Mapping[str, Any]) -> bytes:
    at: datetime = row["at"]
    values = [row["seq"], at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")]
    values += [row[name] for name in FIELDS]
    values += [row[name].hex() for name in HASHES]
    written = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    return hashlib.sha256(len(written).to_bytes(8, "big") + written).digest()
