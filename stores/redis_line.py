"""A script of Redis on a connection of its own: for a writer that calls it hundreds of times a second."""

import threading
from typing import Any

from redis.exceptions import NoScriptError


class OwnLine:
    """Calls one script. Thread-safe; connects at the first call, and once more where the connection had died.

    To take a connection from the pool, look whether it is alive and give it back costs more than to send a few rows.
    """

    def __init__(self, client: Any, script: str) -> None:
        self._pool = client.connection_pool
        self._script = client.register_script(script)
        self._client = client
        self._line: Any = None
        self._lock = threading.Lock()

    def __call__(self, *arguments: bytes | str | int) -> Any:
        """The script's answer. Raises redis-py's errors."""
        with self._lock:
            try:
                return self._asked(*arguments)
            except NoScriptError:
                self._client.script_load(self._script.script)
                return self._asked(*arguments)

    def close(self) -> None:
        """Give the connection back; a further call takes another."""
        with self._lock:
            if self._line is not None:
                self._pool.release(self._line)
                self._line = None

    def _asked(self, *arguments: bytes | str | int) -> Any:
        line = self._line
        if line is None:
            line = self._line = self._pool.get_connection()

        def ask() -> Any:
            line.send_command("EVALSHA", self._script.sha, 0, *arguments)
            return line.read_response()

        return line.retry.call_with_retry(ask, lambda _: line.disconnect())
