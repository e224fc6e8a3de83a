"""Databases of a test's own on a server that runs."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from local.postgres import Postgres


@contextmanager
def fresh_database(server: Postgres, template: str = "template1") -> Iterator[str]:
    """The DSN of a copy of the template, by default an empty one, dropped at the end, whoever is still connected."""
    name = f"t_{uuid.uuid4().hex}"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    execute(server.url, statement.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield dsn_of(server, name)
    finally:
        execute(server.url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def dsn_of(server: Postgres, name: str) -> str:
    """The DSN of a database of that name."""
    return server.url.removesuffix("postgres") + name


def execute(dsn: str, *statements: sql.SQL | sql.Composed) -> None:
    """Each statement in a transaction of its own."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
