"""How a process writes its logs: lines for people, or one JSON object a line for machines."""

import copy
import logging
import sys
from collections.abc import Callable
from typing import Any, Literal, TextIO

import structlog
from structlog.processors import ExceptionRenderer
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

Format = Literal["text", "json"]
# Without the values of local variables: some are passwords.
_tracebacks = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


def configure_logs(form: Format, stream: TextIO | None = None) -> None:
    """From now on, logs go to `stream` (default: stdout) in this form; those of libraries too where it is JSON.

    Keys of JSON: `timestamp` (RFC 3339, UTC), `level`, `logger`, `event`, and what the event carries.
    """
    now = _finder(stream)
    structlog.configure(
        processors=_for_machines() if form == "json" else _for_people(now()),
        logger_factory=lambda *names: _Logger(now(), *names),
    )
    if form == "text":
        return
    handler = logging.StreamHandler(now())
    handler.setFormatter(json_formatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


def json_formatter(*_: Any, **__: Any) -> logging.Formatter:
    """For loggers of the standard library: the same JSON."""
    return ProcessorFormatter(
        foreign_pre_chain=_common(),
        processors=[
            ProcessorFormatter.remove_processors_meta,
            *_as_json(),
        ],
    )


def server_logs(form: Format) -> dict[str, Any]:
    """uvicorn's logging in this form, as its `log_config`."""
    from uvicorn.config import LOGGING_CONFIG  # two processes need it

    config: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    if form == "json":
        config["formatters"] = {name: {"()": "conf.logs.json_formatter"} for name in config["formatters"]}
    return config


class _Logger(structlog.PrintLogger):
    """It knows its name, which a line for people does without."""

    def __init__(self, stream: TextIO, name: str = "") -> None:
        super().__init__(stream)
        self.name = name


def _finder(stream: TextIO | None) -> Callable[[], TextIO]:
    """Where lines go. The process's own streams are looked up for each line: whoever replaces them gets it."""
    if stream is None or stream is sys.stdout:
        return lambda: sys.stdout
    return (lambda: sys.stderr) if stream is sys.stderr else (lambda: stream)


def _for_people(stream: TextIO) -> list[Processor]:
    """structlog's own, but for tracebacks: where `rich` is installed, its would show local variables."""
    shown = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.StackInfoRenderer(),
        structlog.dev.set_exc_info,
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
        shown,
    ]


def _for_machines() -> list[Processor]:
    return [*_common(), *_as_json()]


def _as_json() -> list[Processor]:
    return [_tracebacks, structlog.processors.JSONRenderer()]


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
