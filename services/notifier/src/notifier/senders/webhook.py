"""Signed webhooks after the Standard Webhooks specification: thin, the same id on every try, two secrets while one is replaced.

The receiver keeps the ids that it has seen for a day, since a try without an answer is repeated.
"""

import json
from collections.abc import Sequence
from datetime import timedelta

from pydantic import SecretStr
from standardwebhooks import Webhook

from notifier.domain.retry import Outcome, SendResult
from notifier.senders import Message
from notifier.senders.guarded_http import ForbiddenTarget, GuardedHttp, Unanswered
from shared.events.envelope import rfc3339
from shared.runtime.now import Now

GONE = 410


class WebhookSender:
    """Hands messages to a program at an https URL, signed.

    Args:
        secrets: `whsec_…`, the newest first; the receiver verifies with any of them (SN-52).
    """

    def __init__(self, http: GuardedHttp, secrets: Sequence[SecretStr], now: Now) -> None:
        self._http = http
        self._signers = [Webhook(secret.get_secret_value()) for secret in secrets]
        self._now = now

    async def send(self, message: Message, *, within: timedelta) -> SendResult:
        """Hand the message over; the code of the result is `webhook_<status>` or names the trouble."""
        body = compose(message)
        try:
            answer = await self._http.post(message.recipient, body, self._signed(message.id, body), within=within)
        except ForbiddenTarget:
            return SendResult(Outcome.PERMANENT, "webhook_forbidden")
        except Unanswered as lost:
            return SendResult(Outcome.AMBIGUOUS if lost.was_sent else Outcome.TRANSIENT, "webhook_unanswered")
        code = f"webhook_{answer.status}"
        if 200 <= answer.status < 300:
            return SendResult(Outcome.ACCEPTED, code)
        if answer.status == GONE:
            return SendResult(Outcome.PERMANENT, code, is_gone=True)
        return SendResult(Outcome.TRANSIENT, code, answer.retry_after)

    async def close(self) -> None:
        await self._http.close()

    def _signed(self, message_id: str, body: bytes) -> list[tuple[bytes, bytes]]:
        at = self._now()
        signatures = " ".join(signer.sign(message_id, at, body.decode()) for signer in self._signers)
        return [
            (b"webhook-id", message_id.encode()),
            (b"webhook-timestamp", str(int(at.timestamp())).encode()),
            (b"webhook-signature", signatures.encode()),
        ]


def compose(message: Message) -> bytes:
    """Ids and the constant subject; whoever wants more reads it over HTTP, where reading is checked and logged."""
    data = {"notification_id": message.id, "thread": message.thread, "text": message.subject}
    return json.dumps({"type": "notification", "timestamp": rfc3339(message.written_at), "data": data}).encode()
