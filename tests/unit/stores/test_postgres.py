"""Connection settings: what a DSN says is kept, what it leaves open has a deadline."""

import pytest
from psycopg.conninfo import make_conninfo

from core.errors import ConfigError
from stores.postgres import connect_args

DEADLINES = {
    "connect_timeout": 2,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


@pytest.mark.parametrize("dsn", ["postgresql://u@h:5432/d", "host=/run/postgresql user=u", "postgresql:///d?host=/tmp"])
def test_a_vanished_server_is_given_up(dsn: str) -> None:
    args = connect_args(dsn)
    assert {name: args[name] for name in DEADLINES} == DEADLINES
    assert "tcp_user_timeout=20000" in make_conninfo(**args)


def test_what_the_dsn_says_wins() -> None:
    given = {name: str(value + 1) for name, value in DEADLINES.items()}
    args = connect_args("postgresql://u@h/d?" + "&".join(f"{name}={value}" for name, value in given.items()))
    assert {name: args[name] for name in DEADLINES} == given


def test_a_dsn_that_cannot_be_parsed_is_not_quoted() -> None:
    with pytest.raises(ConfigError) as caught:
        connect_args("postgresql://u:s3cret@h/d?nonsense=1")
    assert "s3cret" not in str(caught.value)
