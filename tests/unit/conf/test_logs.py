"""Logs as JSON: one object a line, also what libraries log, and no key of the API in it."""

import io
import json
import logging
import logging.config
import sys
from collections.abc import Iterator

import pytest
import structlog

from api.security.redact import log_config
from conf.logs import Format, configure_logs
from local.jars import ROOT


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    config = structlog.get_config()
    yield
    structlog.configure(**config)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def test_line_of_json_has_time_level_logger_and_what_the_event_carries() -> None:
    out = io.StringIO()
    log = structlog.get_logger("jobs.relay")
    configure_logs("json", out)
    log.warning("redis is down, waiting", error='no "answer"\nat all', retry_in=0.25)
    (line,) = out.getvalue().splitlines()
    found = json.loads(line)
    assert found.pop("timestamp").endswith("Z")
    assert found == {
        "event": "redis is down, waiting",
        "level": "warning",
        "logger": "jobs.relay",
        "error": 'no "answer"\nat all',
        "retry_in": 0.25,
    }


@pytest.mark.parametrize("form", ["json", "text"])
def test_exception_is_told_without_the_values_of_variables(form: Format) -> None:
    out = io.StringIO()
    configure_logs(form, out)
    password = "".join(["S3", "CRET"])
    try:
        raise ValueError(f"broken {len(password)}")
    except ValueError:
        structlog.get_logger("jobs").exception("failed")
    assert "broken 6" in out.getvalue() and "S3CRET" not in out.getvalue()
    if form == "json":
        (line,) = out.getvalue().splitlines()
        assert json.loads(line)["exception"][0]["exc_value"] == "broken 6"


def test_text_is_a_line_for_people() -> None:
    out = io.StringIO()
    configure_logs("text", out)
    structlog.get_logger("jobs.relay").warning("redis is down", error="gone")
    assert "redis is down" in out.getvalue() and not out.getvalue().startswith("{")


def test_stream_of_the_process_that_was_replaced_gets_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", before)
    configure_logs("text", sys.stderr)
    before.close()
    monkeypatch.setattr(sys, "stderr", after)
    structlog.get_logger("jobs.relay").warning("redis is down")
    assert "redis is down" in after.getvalue()


def test_access_log_of_the_api_is_json_without_keys(capsys: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(log_config("json"))
    arguments = ("127.0.0.1:1", "GET", "/x?symbol=A&key=S3CRET", "1.1", 200)
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', *arguments)
    found = json.loads(capsys.readouterr().out)
    assert found["event"] == '127.0.0.1:1 - "GET /x?symbol=A&key=*** HTTP/1.1" 200'
    assert found["logger"] == "uvicorn.access" and found["level"] == "info"


def test_logs_of_the_jvm_differ_in_their_layout_alone() -> None:
    text, form = (
        (ROOT / "conf" / name).read_text().splitlines() for name in ("log4j2.properties", "log4j2-json.properties")
    )
    assert [line for line in text if ".layout." not in line] == [line for line in form if ".layout." not in line]
