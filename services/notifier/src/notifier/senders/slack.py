"""Slack by incoming webhooks: the words literally, without mentions, links or previews (SN-29).

Slack may answer 200 and mean no (SN-13): only `ok` is a yes.
"""

import json
from datetime import timedelta

from notifier.domain.retry import Outcome, SendResult
from notifier.senders import Message
from notifier.senders.guarded_http import Answer, ForbiddenTarget, GuardedHttp, Unanswered

ACCEPTED = SendResult(Outcome.ACCEPTED, "slack_ok")
MAX_TEXT = 3_000
"""What Slack takes in one block, in characters."""
BAD_REQUEST = 400
"""How Slack says that this text will never work."""
_GONE = frozenset({401, 403, 404, 410})
"""How it says that this webhook will never work."""
_OF_MESSAGE = frozenset({"invalid_payload", "invalid_blocks", "msg_too_long", "no_text", "too_many_attachments"})
_PASSING = frozenset({"rate_limited", "ratelimited", "internal_error", "fatal_error", "service_unavailable", "timeout"})


class SlackSender:
    """Hands messages to Slack; the recipient is the URL of an incoming webhook, which is a secret."""

    def __init__(self, http: GuardedHttp) -> None:
        self._http = http

    async def send(self, message: Message, *, within: timedelta) -> SendResult:
        """Hand the message over; the code of the result is `slack_<status>` or names the trouble."""
        try:
            answer = await self._http.post(message.recipient, compose(message), (), within=within)
        except ForbiddenTarget:
            return SendResult(Outcome.PERMANENT, "slack_forbidden")
        except Unanswered as lost:
            return SendResult(Outcome.AMBIGUOUS if lost.was_sent else Outcome.TRANSIENT, "slack_unanswered")
        return _meaning(answer)

    async def close(self) -> None:
        await self._http.close()


def compose(message: Message) -> bytes:
    """Plain text in which nothing has a meaning to Slack."""
    text = f"{message.subject}\n\n{message.body}".strip()[:MAX_TEXT]
    block = {"type": "section", "text": {"type": "plain_text", "text": text, "emoji": False}}
    escaped = message.subject.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    quiet = {"mrkdwn": False, "link_names": False, "parse": "none", "unfurl_links": False, "unfurl_media": False}
    return json.dumps({"text": escaped, "blocks": [block], **quiet}).encode()


def _meaning(answer: Answer) -> SendResult:
    if answer.status != 200:
        is_gone = answer.status in _GONE
        outcome = Outcome.PERMANENT if is_gone or answer.status == BAD_REQUEST else Outcome.TRANSIENT
        return SendResult(outcome, f"slack_{answer.status}", answer.retry_after, is_gone=is_gone)
    if answer.body.strip() == b"ok":
        return ACCEPTED
    try:
        said = json.loads(answer.body)
    except ValueError:
        return SendResult(Outcome.TRANSIENT, "slack_unreadable")
    if isinstance(said, dict) and said.get("ok") is True:
        return ACCEPTED
    error = said.get("error") if isinstance(said, dict) else "not an answer of Slack's"
    if error in _PASSING:
        return SendResult(Outcome.TRANSIENT, "slack_not_ok", answer.retry_after)
    return SendResult(Outcome.PERMANENT, "slack_not_ok", is_gone=isinstance(said, dict) and error not in _OF_MESSAGE)
