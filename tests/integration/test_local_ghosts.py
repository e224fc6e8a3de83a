"""Servers on what a killed predecessor left, when the machine has given its number to another program since."""

import subprocess
from pathlib import Path

import psycopg

from local.postgres import Postgres, _identity
from tests.integration.test_local_servers import running


def test_postgres_starts_where_another_program_has_the_number_of_the_killed_one(servers_folder: Path) -> None:
    """After a power cut, say; the number is of a program of the same account, as it mostly is on a desk."""
    server = Postgres(servers_folder / "a ghost")
    with running(server):
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 17 AS number")
        server.kill()
        lock = server._data / "postmaster.pid"
        _, rest = lock.read_text().split("\n", 1)
        with subprocess.Popen(["sleep", "60"], **_identity(server._data)) as other:
            try:
                lock.write_text(f"{other.pid}\n{rest}")
                server.start()
                with psycopg.connect(server.url) as connection:
                    assert connection.execute("SELECT number FROM kept").fetchone() == (17,)
            finally:
                other.kill()


def test_lock_of_a_postgres_that_runs_is_respected(servers_folder: Path) -> None:
    server = Postgres(servers_folder / "no ghost")
    with running(server):
        lock = server._data / "postmaster.pid"
        held = lock.read_text()
        Postgres(servers_folder / "no ghost")._lay_ghost()
        assert lock.read_text() == held
