"""Who alerts are sent to: a mail server and an HTTP endpoint on loopback, with what they received."""

import json
import socket
import threading
import time
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Mailbox:
    """A mail server that takes everything; `mails` in the order in which they came."""

    def __init__(self) -> None:
        self.port = free_port()
        self.mails: list[EmailMessage] = []
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    @property
    def url(self) -> str:
        """As apprise has it."""
        return f"mailto://127.0.0.1:{self.port}?smtp=127.0.0.1&mode=insecure&from=alerts@tick.test&to=desk@tick.test"

    async def handle_DATA(self, _: object, __: object, envelope: Envelope) -> str:
        mail = message_from_bytes(envelope.content or b"", policy=policy.default)  # type: ignore[arg-type]
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 taken"

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()


class Hook:
    """An HTTP endpoint; `messages` are the JSON bodies that it took. `answer` is its status, None to hang."""

    def __init__(self, secret: str = "s3cr3t-path", port: int = 0) -> None:
        self.secret = secret
        self.messages: list[dict[str, Any]] = []
        self.asked = 0
        self.answer: int | None = 200
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """As apprise has it, with a secret in its path and a password."""
        return f"json://desk:passw0rd@127.0.0.1:{self._server.server_port}/{self.secret}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.asked += 1
                if hook.answer is None:
                    hook._released.wait(30)
                    return
                if hook.answer == 200:
                    hook.messages.append(json.loads(body))
                self.send_response(hook.answer)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()


def until(condition: Callable[[], Any], what: str = "condition", seconds: float = 20.0) -> None:
    """Poll for a state, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)
