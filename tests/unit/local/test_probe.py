"""Addresses as they are shown."""

import pytest

from local.probe import without_password


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("127.0.0.1:9092", "127.0.0.1:9092"),
        ("redis://:s3cret@127.0.0.1:6379/0", "redis://:***@127.0.0.1:6379/0"),
        ("redis://db:6379/0?password=s3cret&protocol=2", "redis://db:6379/0?password=***&protocol=2"),
        ("postgresql://t:s3cret@db:5432/t", "postgresql://t:***@db:5432/t"),
        ("postgresql://t@db/t?sslmode=require", "postgresql://t@db/t?sslmode=require"),
        ("postgresql://db/t?user=t&password=s3cret", "postgresql://db/t?user=t&password=***"),
        ("host=db user=t password=s3cret dbname=t", "user=t dbname=t host=db password=***"),
        ("host=db password='s3 cret' sslpassword=s3cret", "host=db password=*** sslpassword=***"),
        ("password=s3cret what?", "***"),
    ],
)
def test_password_is_never_shown(address: str, shown: str) -> None:
    found = without_password(address)
    assert (sorted(found.split()), "s3" in found) == (sorted(shown.split()), False)
