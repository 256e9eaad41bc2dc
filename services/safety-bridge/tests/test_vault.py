"""What is sealed on a real database: who may open it, what stays when its key is gone, and what the audit keeps of it (S5)."""

from base64 import b64encode
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from console.audit import verify
from safety_bridge import handlers
from safety_bridge.custody import VaultCustody
from safety_bridge.timers import destroy_what_is_due, rewrap_keys
from shared.errors import DeadLetterCode
from shared.events.agent import SafetyCrisisDetected, SafetyIncidentUpdated, SafetyTicketFlagged, SafetyUnreadable
from shared.events.envelope import Event, Record
from shared.events.topics import AGENT
from shared.runtime.keys import CannotOpen, MasterKeys, new_key

CRISIS = {"agent_incident_id": "A-1", "severity": "critical"}
SUPPORT = {"id": "on-call-1", "role": "support"}
LEGAL = {"id": "legal-compliance-1", "role": "legal_compliance"}
SAFETY = {"id": "safety-1", "role": "safety_team"}
READER = {"x-actor-id": "tim", "x-actor-role": "safety_team", "x-reason": "review"}
NOTE = "mum's number is five five five 0199, school Oak Hill"


async def an_incident(service: Any, event: type[Event] = SafetyCrisisDetected, **said: Any) -> str:
    await service.hear(event, CRISIS | said)
    return str((await service.one())["incident_ref"])


async def protected(service: Any, ref: str) -> list[tuple[str, Any]]:
    answer = await service.get(f"/v1/incidents/{ref}/protected", key="vault", **READER)
    assert answer.status_code == 200
    return [(one["kind"], one["value"]) for one in answer.json()["values"]]


async def note(service: Any, ref: str, text: str = NOTE) -> None:
    answer = await service.post(f"/v1/incidents/{ref}/notes", {"actor": SUPPORT, "text": text})
    assert (answer.status_code, answer.json()) == (201, {"incident_ref": ref})


async def closed(service: Any, ref: str) -> None:
    """As two persons would have closed it; that is the matter of other tests."""
    await service.rows(
        f"""update incident set document = jsonb_set(document, '{{handling}}', '"closed"') where ref = '{ref}'"""
    )


async def told(service: Any, fact: str) -> list[dict[str, Any]]:
    rows = await service.rows(
        f"select payload from outbox where encode(headers, 'escape') like '%support.safety.{fact}.v1%' order by seq"
    )
    return [orjson.loads(row["payload"]) for row in rows]


async def test_a_note_holds_a_taken_incident_for_another_while(service: Any) -> None:
    """SN-38: a note at 02:14 renews the lease; one on an incident that nobody has taken ends no paging (S4)."""
    ref = await an_incident(service)
    await note(service, ref)
    assert (await service.one())["tracks"]["handling"] == "paging"
    await service.post(f"/v1/incidents/{ref}/acknowledge", {"epoch": 1, "actor": SUPPORT})
    before = await lease_end(service)
    service.now.advance(minutes=14)
    await note(service, ref)
    assert await lease_end(service) - before == timedelta(minutes=14)
    (progressed,) = await told(service, "incident_progressed")
    assert (progressed["reason_code"], NOTE in str(progressed)) == ("note_added", False)


async def test_what_a_stranger_calls_themselves_is_sealed(audited: Any) -> None:
    """S5: anybody with a key may raise, and put anything where an id belongs; who reads gives an id of the directory's form."""
    words = "Ada of Oak Hill"
    ref = await an_incident(audited, SafetyIncidentUpdated, severity="high")
    stranger = {"id": words, "role": "teacher"}
    answer = await audited.post(f"/v1/incidents/{ref}/raise", {"epoch": 1, "actor": stranger, "severity": "critical"})
    assert (answer.status_code, answer.json()["severity_working"]) == (200, "critical")
    refused = await audited.get(f"/v1/incidents/{ref}", **READER | {"x-actor-id": words})
    assert (refused.status_code, words in refused.text) == (422, False)
    for table in ("incident", "told", "audit", "outbox"):
        assert await audited.rows(f"select 1 from {table} one where one::text like '%Oak Hill%'") == []
    assert await audited.rows("select 1 from outbox where position('Oak Hill'::bytea in payload) > 0") == []
    (kept,) = [value for kind, value in await protected(audited, ref) if kind == "note"]
    assert (kept["actor_id"], kept["actor_role"]) == (words, "teacher")


async def lease_end(service: Any) -> datetime:
    (row,) = await service.rows("select document->>'lease_ends_at' as at from incident")
    return datetime.fromisoformat(row["at"])


async def test_a_note_is_sealed_and_shown_to_those_who_may_see_it(audited: Any) -> None:
    """SN-24: a person's words, in no column and on no topic; behind a scope, with the reader in the audit (invariant 45)."""
    ref = await an_incident(audited)
    await note(audited, ref)
    assert await protected(audited, ref) == [("note", {"text": NOTE, "actor_id": "on-call-1", "actor_role": "support"})]
    path = f"/v1/incidents/{ref}/protected"
    assert (await audited.get(path, key="support", **READER)).status_code == 403
    assert (await audited.get(path, key="vault")).status_code == 422
    rows = await audited.rows("select type, actor, role, reason from audit where type in ('sealed', 'protected_read')")
    assert [tuple(row) for row in rows] == [
        ("sealed", "on-call-1", "support", "note"),
        ("protected_read", "tim", "safety_team", "review"),
    ]


async def test_an_event_that_says_too_much_is_handled_and_its_producer_told_the_places(audited: Any) -> None:
    """SN-23: the incident is opened and paged like any other; the extras are sealed, pseudonyms too."""
    ref = await an_incident(audited, child_name="Ada", story_ref="ada@example.org", subject_ref="sub-81c2")
    assert (await audited.left())[:2] == ["incident_opened", "page_requested"]
    (violation,) = await told(audited, "policy_violation")
    assert (violation["incident_ref"], violation["places"]) == (ref, ["/child_name", "/story_ref"])
    assert await protected(audited, ref) == [
        ("protected", {"/subject_ref": "sub-81c2"}),
        ("quarantine", {"/child_name": "Ada", "/story_ref": "ada@example.org"}),
    ]


async def test_what_was_sealed_of_a_merged_incident_is_found_with_the_whole(audited: Any) -> None:
    """S8: two that turn out to be one matter."""
    await audited.hear(SafetyCrisisDetected, CRISIS | {"subject_ref": "sub-1"})
    await audited.hear(
        SafetyCrisisDetected, CRISIS | {"agent_incident_id": "A-2", "ticket_ref": "T-1", "story_ref": "st-2"}
    )
    await audited.hear(SafetyIncidentUpdated, {"agent_incident_id": "A-1", "ticket_ref": "T-1"})
    (row,) = await audited.rows(
        "select document->>'continues_in' as ref from incident where document->>'continues_in' is not null"
    )
    assert sorted(str(value) for _, value in await protected(audited, row["ref"])) == [
        "{'/story_ref': 'st-2'}",
        "{'/subject_ref': 'sub-1'}",
    ]


async def test_the_content_is_destroyed_after_its_time_and_the_audit_stays_whole(audited: Any) -> None:
    """SN-47, invariant 42: key, values and salts are gone; the skeleton and the chain remain."""
    ref = await an_incident(audited, subject_ref="sub-81c2")
    await note(audited, ref)
    await closed(audited, ref)
    (backup,) = await audited.rows("select sealed from secret where kind = 'note'")
    audited.now.advance(days=364)
    await destroy_what_is_due(audited.units)
    assert len(await protected(audited, ref)) == 2
    audited.now.advance(days=2)
    await destroy_what_is_due(audited.units)
    assert await protected(audited, ref) == []
    assert await audited.rows("select 1 from secret") == []
    assert [row["wrapped"] for row in await audited.rows("select wrapped from incident_key")] == [None]
    assert (await audited.one())["incident_ref"] == ref
    assert [(one["decision"], one["reason_code"]) for one in await told(audited, "retention_decided")] == [
        ("destroyed", "retention_over")
    ]
    assert (await verify(audited.url, kafka=None, heads_file=None)).faults == []
    await note(audited, ref, "later")
    assert [value["text"] for _, value in await protected(audited, ref)] == ["later"]
    assert (await audited.rows("select sealed from secret"))[0]["sealed"] != backup["sealed"]


async def test_a_commitment_in_the_audit_cannot_be_guessed_from_the_tables(audited: Any) -> None:
    """4.11: the salt is sealed beside the value, so the same words leave another commitment each time."""
    ref = await an_incident(audited)
    await note(audited, ref, "yes")
    await note(audited, ref, "yes")
    first, second = await audited.rows("select commitment from audit where type = 'sealed'")
    assert first != second


async def test_a_legal_hold_a_later_date_and_an_open_incident_keep_the_content(audited: Any) -> None:
    """SN-47: untouched, and the reason is told; another person than the one who placed it lifts a hold (S1)."""
    ref = await an_incident(audited, preserve={"until": "2028-03-03T15:00:00Z"})
    await note(audited, ref)
    hold = f"/v1/incidents/{ref}/legal-hold"
    assert (await audited.post(hold, {"actor": SUPPORT, "hold": True})).json()["type"] == "/problems/role-not-allowed"
    assert (await audited.post(hold, {"actor": LEGAL, "hold": True})).json()["reason_code"] == "legal_hold"
    audited.now.advance(days=2 * 365 + 2)
    await destroy_what_is_due(audited.units)
    refused = await audited.post(hold, {"actor": LEGAL, "hold": False})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/two-persons-needed")
    assert (await audited.post(hold, {"actor": SAFETY, "hold": False})).is_success
    await destroy_what_is_due(audited.units)
    assert len(await protected(audited, ref)) == 1
    await closed(audited, ref)
    audited.now.advance(days=366)
    await destroy_what_is_due(audited.units)
    assert await protected(audited, ref) == []
    decided = [(one["decision"], one["reason_code"]) for one in await told(audited, "retention_decided")]
    assert decided == [
        ("hold_placed", "legal_hold"),
        ("kept", "legal_hold"),
        ("hold_lifted", "legal_hold"),
        ("kept", "incident_open"),
        ("destroyed", "retention_over"),
    ]


async def test_what_was_merged_is_kept_as_long_as_any_of_the_matter(audited: Any) -> None:
    """SN-47: a hold or a later date on the incident holds what was sealed before the two turned out to be one (S5)."""
    await audited.hear(SafetyTicketFlagged, {"ticket_id": "T-1", "subcategory": "crisis_detection"})
    of_ticket = (await audited.one())["incident_ref"]
    await audited.hear(SafetyCrisisDetected, CRISIS | {"subject_ref": "sub-1"})
    await audited.hear(
        SafetyCrisisDetected, CRISIS | {"ticket_ref": "T-1", "preserve": {"until": "2028-06-01T00:00:00Z"}}
    )
    hold = f"/v1/incidents/{of_ticket}/legal-hold"
    assert (await audited.post(hold, {"actor": LEGAL, "hold": True})).is_success
    await closed(audited, of_ticket)

    async def subjects() -> list[Any]:
        return [value for _, value in await protected(audited, of_ticket) if value == {"/subject_ref": "sub-1"}]

    audited.now.advance(days=900)
    await destroy_what_is_due(audited.units)
    assert len(await subjects()) == 1
    assert (await audited.post(hold, {"actor": SAFETY, "hold": False})).is_success
    audited.now.advance(days=1)
    await destroy_what_is_due(audited.units)
    assert await subjects() == []


async def test_what_was_merged_is_kept_until_the_latest_date_of_the_matter(audited: Any) -> None:
    """4.4 of the model: what the agent wants preserved only grows (S5)."""
    await audited.hear(SafetyTicketFlagged, {"ticket_id": "T-1", "subcategory": "crisis_detection"})
    of_ticket = (await audited.one())["incident_ref"]
    await audited.hear(SafetyCrisisDetected, CRISIS | {"subject_ref": "sub-1"})
    await audited.hear(
        SafetyCrisisDetected, CRISIS | {"ticket_ref": "T-1", "preserve": {"until": "2028-06-01T00:00:00Z"}}
    )
    await closed(audited, of_ticket)
    for days, kept in ((400, 1), (400, 1), (100, 0)):
        audited.now.advance(days=days)
        await destroy_what_is_due(audited.units)
        assert len(await protected(audited, of_ticket)) == kept


async def test_a_request_for_erasure_is_answered_with_a_date_and_changes_no_track(audited: Any) -> None:
    """SN-48: restricted until then; who brought it and what was answered is in the audit."""
    ref = await an_incident(audited, report={"required": True}, preserve={"until": "2028-01-01T00:00:00Z"})
    before = await audited.one()
    answer = await audited.post(f"/v1/incidents/{ref}/erasure", {"actor": SUPPORT})
    assert answer.json() == {
        "incident_ref": ref,
        "restricted_until": "2028-01-01T00:00:00.000000Z",
        "reason_code": "incident_open",
    }
    assert await audited.one() == before
    (row,) = await audited.rows("select actor, role, reason from audit where type like '%retention_decided.v1'")
    assert tuple(row) == ("on-call-1", "support", "incident_open")


async def test_keys_are_wrapped_anew_by_a_new_master_key_and_backups_of_old_ones_are_worth_nothing(
    audited: Any,
) -> None:
    """Invariant 42: once the old master key is destroyed, no copy of the table of keys opens anything."""
    ref = await an_incident(audited)
    await note(audited, ref)
    (backup,) = await audited.rows("select wrapped from incident_key")
    (old,) = audited.keys._keys.values()
    new = new_key()
    audited.keys._keys, audited.keys.prefix = MasterKeys([new, old])._keys, MasterKeys([new]).prefix
    await rewrap_keys(audited.units)
    audited.keys._keys = MasterKeys([new])._keys
    async with audited.units.begin() as unit:
        assert len(await unit.vault.open(unit.connection, ref)) == 1
    with pytest.raises(CannotOpen):
        await audited.keys.unwrap(backup["wrapped"], ref)


async def test_a_row_of_one_incident_cannot_pass_for_one_of_another(audited: Any) -> None:
    """S5: each value is bound to its incident."""
    await audited.hear(SafetyCrisisDetected, CRISIS | {"subject_ref": "sub-1"})
    await audited.hear(SafetyCrisisDetected, CRISIS | {"agent_incident_id": "A-2", "subject_ref": "sub-2"})
    await audited.rows("update secret set sealed = (select sealed from secret other where other.id <> secret.id)")
    refs = [row["ref"] for row in await audited.rows("select ref from incident")]
    with pytest.raises(CannotOpen):
        await protected(audited, refs[0])


def test_a_year_is_the_least_that_is_kept(policy: Any) -> None:
    """4.11: reports have to be preserved for a year."""
    assert timedelta(days=policy.safety.keep_for_days) >= timedelta(days=365)


async def test_a_record_set_aside_is_whole_in_the_vault_and_nowhere_else(audited: Any) -> None:
    """SN-43: the dead letters keep place and a digest of the key; putting it back takes the bytes from the vault (S5, S6)."""
    record = Record(AGENT.name, 2, 7, audited.now(), b"Ada", b"\xff Oak Hill", (("x-note", b"\xfe Ada"),))
    async with audited.units.begin() as unit:
        handlers.on_unreadable(record, DeadLetterCode.INVALID_JSON, unit)
    kept = VaultCustody().withhold(record)
    assert (kept.topic, kept.partition, kept.offset, kept.value, kept.headers) == (AGENT.name, 2, 7, b"", ())
    assert b"Ada" not in kept.key
    assert kept.key == VaultCustody().withhold(replace(record, offset=8)).key
    async with audited.units.begin() as unit:
        assert await VaultCustody().restore(unit, kept) == record
        assert await VaultCustody().restore(unit, replace(kept, offset=8)) == replace(kept, offset=8)


async def test_what_intake_could_not_read_comes_sealed_and_goes_into_the_vault(audited: Any) -> None:
    """S5: under the incident's key from then on; what does not open is kept as it is, and the incident is opened all the same."""
    words = orjson.dumps({"headers": "", "value": "QWRh"})
    sealed = audited.keys.seal(words, "e-1")
    for number, bytes_ in enumerate((sealed, b"somebody else's"), 1):
        said = {"reason_code": "invalid_json", "sealed": b64encode(bytes_).decode()}
        await audited.hear(SafetyUnreadable, said, source="/storytailor/support/intake/app", id=f"e-{number}")
    ref = (await audited.one())["incident_ref"]
    first, second = await protected(audited, ref)
    assert first == ("record", orjson.loads(words))
    assert second == ("record", {"value": b64encode(b"somebody else's").decode(), "cannot_open": True})
