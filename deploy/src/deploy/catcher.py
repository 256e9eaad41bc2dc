"""A mail catcher: takes every mail by SMTP, delivers none, and shows them at an HTTP address.

GET / is a page for people with both parts of each mail, GET /mails.json the same for programs, DELETE /mails forgets them,
GET /readyz answers 200. What a mail brings is shown and never run: an HTML part stands in a frame without any rights, and the
page may fetch nothing.
"""

import argparse
import email.policy
import html
import json
import threading
from collections import deque
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy import processes

KEPT = 50_000
SHOWN = 200
"""How many mails the page shows, the newest ones."""
NOTHING_RUNS = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; form-action 'none'"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Caught mail</title>
<style>
body{{font:1rem/1.5 system-ui,sans-serif;max-width:76rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}}
article{{border-top:1px solid #bbb;padding:1rem 0}} h2{{font-size:1.1rem;margin:0}} p{{margin:.25rem 0 .75rem;color:#555}}
.parts{{display:flex;flex-wrap:wrap;gap:1rem}} .parts>*{{flex:1 1 18rem;box-sizing:border-box;min-width:0;margin:0}}
pre{{white-space:pre-wrap;padding:1rem;background:#f6f6f6;border-radius:.5rem;font-size:.85rem}}
iframe{{min-height:34rem;border:1px solid #ddd;border-radius:.5rem}}
</style></head><body>
<h1>Caught mail ({count})</h1>{mails}</body></html>"""
MAIL = """<article><h2>{subject}</h2><p>to {to}, from {sender}</p><div class="parts"><pre>{text}</pre>{frame}</div></article>"""
FRAME = """<iframe sandbox title="HTML part" srcdoc="{page}"></iframe>"""


class MailCatcher:
    """An SMTP server and the HTTP view of what it took; both run in threads of this process."""

    smtp_address: str
    url: str

    def __init__(self, host: str = "127.0.0.1", smtp_port: int | None = None, http_port: int | None = None) -> None:
        """Ports that are not given or are taken are replaced by free ones."""
        self.mails: deque[dict[str, object]] = deque(maxlen=KEPT)
        self._host = host
        self._ports = smtp_port, http_port

    def start(self) -> None:
        smtp_port, http_port = self._ports
        self._smtp = Controller(self, hostname=self._host, port=processes.free_port(smtp_port))
        self._smtp.start()
        self.smtp_address = f"{self._host}:{self._smtp.port}"
        self._http = ThreadingHTTPServer((self._host, processes.free_port(http_port)), _view_of(self))
        threading.Thread(target=self._http.serve_forever, name="mail-view", daemon=True).start()
        self.url = f"http://{self._host}:{self._http.server_port}"

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._smtp.stop()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Keep a mail as it came."""
        content = cast(bytes, envelope.content)
        mail = message_from_bytes(content, policy=email.policy.default)
        text, page = mail.get_body(("plain",)), mail.get_body(("html",))
        self.mails.append(
            {
                "to": envelope.rcpt_tos,
                "from": envelope.mail_from,
                "subject": str(mail["subject"] or ""),
                "headers": {name: str(value) for name, value in mail.items()},
                "text": text.get_content() if text is not None else "",
                "html": page.get_content() if page is not None else None,
            }
        )
        return "250 taken"

    def page(self) -> str:
        """The newest mail first."""
        mails = (
            MAIL.format(
                subject=html.escape(str(mail["subject"])),
                to=html.escape(", ".join(cast(list[str], mail["to"]))),
                sender=html.escape(str(mail["from"])),
                text=html.escape(str(mail["text"])),
                frame=FRAME.format(page=html.escape(str(mail["html"]))) if mail["html"] is not None else "",
            )
            for mail in islice(reversed(list(self.mails)), SHOWN)
        )
        return PAGE.format(count=len(self.mails), mails="".join(mails))


def _view_of(catcher: MailCatcher) -> type[BaseHTTPRequestHandler]:
    class View(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path:
                case "/":
                    self._answer(200, "text/html; charset=utf-8", catcher.page())
                case "/mails.json":
                    self._answer(200, "application/json", json.dumps(list(catcher.mails)))
                case "/readyz":
                    self._answer(200, "text/plain", "ok")
                case _:
                    self._answer(404, "text/plain", "not found")

        def do_DELETE(self) -> None:
            if self.path == "/mails":
                catcher.mails.clear()
                self._answer(204, "text/plain", "")
            else:
                self._answer(404, "text/plain", "not found")

        def _answer(self, status: int, media_type: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("content-type", media_type)
            self.send_header("content-length", str(len(body)))
            self.send_header("content-security-policy", NOTHING_RUNS)
            self.send_header("x-content-type-options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests are not worth a line."""

    return View


def main() -> None:
    """Run the catcher alone, as docker-compose.yml does."""
    parser = argparse.ArgumentParser(prog="python -m deploy.catcher", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--smtp-port", type=int, default=1025)
    parser.add_argument("--http-port", type=int, default=8025)
    arguments = parser.parse_args()
    catcher = MailCatcher(arguments.host, arguments.smtp_port, arguments.http_port)
    with processes.until_signalled():
        catcher.start()
        print(f"mail catcher: smtp://{catcher.smtp_address}, {catcher.url}", flush=True)
        threading.Event().wait()
    catcher.stop()


if __name__ == "__main__":
    main()
