"""JSON Web Tokens: what is good, and every way to be not."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import SecretStr

from api.security.principal import Unauthorized
from api.security.tokens import Tokens, tokens_of
from conf.settings import Settings
from core.errors import ConfigError

SECRET = "s" * 40
DAY = 86_400  # parameters are made when tests are collected, many minutes before they run
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def claims(**changes: Any) -> dict[str, Any]:
    good = {"sub": "ann", "aud": "tickstream", "iss": "idp", "exp": time.time() + 60, "scope": "read stream other"}
    return {name: value for name, value in (good | changes).items() if value is not None}


def settings_of(**fields: Any) -> Settings:
    return Settings(**{"api_jwt_audience": "tickstream", "api_jwt_issuer": "idp", "api_jwt_leeway_seconds": 5} | fields)


def by_secret() -> Tokens:
    tokens = tokens_of(settings_of(api_jwt_secret=SecretStr(SECRET)))
    assert tokens is not None
    return tokens


def by_key(key: Any, folder: Path) -> Tokens:
    path = folder / "public.pem"
    path.write_bytes(pem(key))
    tokens = tokens_of(settings_of(api_jwt_public_key_file=path))
    assert tokens is not None
    return tokens


def encoded(part: dict[str, Any]) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")


def by_hand(header: dict[str, Any], body: dict[str, Any], key: bytes) -> str:
    """A token that no library would sign: HMAC over any header with any bytes."""
    signed = encoded(header) + b"." + encoded(body)
    signature = base64.urlsafe_b64encode(hmac.new(key, signed, hashlib.sha256).digest()).rstrip(b"=")
    return (signed + b"." + signature).decode()


def test_good_token_of_each_kind(tmp_path: Path) -> None:
    for tokens, text in (
        (by_secret(), jwt.encode(claims(), SECRET, "HS256")),
        (by_key(RSA, tmp_path), jwt.encode(claims(), RSA, "RS256")),
        (by_key(CURVE, tmp_path), jwt.encode(claims(), CURVE, "ES256")),
    ):
        principal = tokens.principal(text)
        assert (principal.id, principal.scopes) == ("jwt:ann", {"read", "stream"})
        assert tokens.principal(text) == principal


def test_scopes_from_scp_as_list_and_none_is_none() -> None:
    tokens = by_secret()
    assert tokens.principal(jwt.encode(claims(scope=None, scp=["write", 7]), SECRET)).scopes == {"write"}
    assert tokens.principal(jwt.encode(claims(scope=None), SECRET)).scopes == frozenset()
    assert tokens.principal(jwt.encode(claims(scope={"read": 1}), SECRET)).scopes == frozenset()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": time.time() - 60}, "expired"),
        ({"exp": None}, "not a valid"),
        ({"exp": "soon"}, "not a valid"),
        ({"exp": 1e400}, "not a valid"),
        ({"nbf": time.time() + DAY}, "not valid yet"),
        ({"iat": time.time() + DAY}, "not valid yet"),
        ({"aud": "other"}, "audience"),
        ({"aud": None}, "not a valid"),
        ({"iss": "other"}, "issuer"),
        ({"iss": None}, "not a valid"),
        ({"sub": None}, "not a valid"),
        ({"sub": ""}, "not a valid"),
        ({"sub": "a\x00b"}, "not a valid"),
        ({"sub": 7}, "not a valid"),
    ],
)
def test_token_with_a_wrong_claim_is_refused(changes: dict[str, Any], reason: str) -> None:
    text = by_hand({"alg": "HS256", "typ": "JWT"}, claims(**changes), SECRET.encode())
    with pytest.raises(Unauthorized, match=reason):
        by_secret().principal(text)


def test_leeway_is_for_clocks_and_no_more() -> None:
    tokens = by_secret()
    assert tokens.principal(jwt.encode(claims(exp=time.time() - 2), SECRET)).id == "jwt:ann"
    assert tokens.principal(jwt.encode(claims(nbf=time.time() + 2), SECRET)).id == "jwt:ann"


def test_token_held_is_refused_when_its_time_is_over() -> None:
    tokens = by_secret()
    text = jwt.encode(claims(exp=time.time() - 4), SECRET)
    tokens.principal(text)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            tokens.principal(text)
        except Unauthorized:
            return
        time.sleep(0.05)
    raise AssertionError("a held token outlives its end")


def test_no_signature_other_signature_other_algorithm_are_refused(tmp_path: Path) -> None:
    tokens = by_secret()
    good = jwt.encode(claims(), SECRET, "HS256")
    head, body, signature = good.split(".")
    for text in (
        jwt.encode(claims(), None, "none"),
        by_hand({"alg": "none"}, claims(), b"").rsplit(".", 1)[0] + ".",
        by_hand({"alg": "None"}, claims(), SECRET.encode()),
        jwt.encode(claims(), SECRET + "x", "HS256"),
        jwt.encode(claims(), SECRET * 2, "HS512"),
        jwt.encode(claims(), RSA, "RS256"),
        f"{head}.{body}.",
        f"{head}.{encoded(claims(scope='admin')).decode()}.{signature}",
        f"{head}.{body}",
        "..",
        "a.b.c",
        "",
    ):
        with pytest.raises(Unauthorized):
            tokens.principal(text)


@pytest.mark.parametrize("key", [RSA, CURVE], ids=["rsa", "curve"])
def test_public_key_is_never_taken_for_a_secret(key: Any, tmp_path: Path) -> None:
    tokens = by_key(key, tmp_path)
    for material in (pem(key), pem(key).strip()):
        with pytest.raises(Unauthorized):
            tokens.principal(by_hand({"alg": "HS256", "typ": "JWT"}, claims(), material))


def test_token_of_the_other_kind_of_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unauthorized):
        by_key(RSA, tmp_path).principal(jwt.encode(claims(), CURVE, "ES256"))


def test_settings_that_would_let_anybody_in_are_refused(tmp_path: Path) -> None:
    private = tmp_path / "private.pem"
    private.write_bytes(RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    small = tmp_path / "small.pem"
    small.write_bytes(pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)))
    for fields, says in (
        ({"api_jwt_secret": SecretStr("short")}, "at least 32"),
        ({"api_jwt_secret": SecretStr(pem(RSA).decode())}, "PUBLIC_KEY_FILE"),
        ({"api_jwt_secret": SecretStr(SECRET), "api_jwt_audience": ""}, "AUDIENCE"),
        ({"api_jwt_secret": SecretStr(SECRET), "api_jwt_issuer": ""}, "ISSUER"),
        ({"api_jwt_secret": SecretStr(SECRET), "api_jwt_public_key_file": private}, "both"),
        ({"api_jwt_public_key_file": tmp_path / "absent.pem"}, "No such file"),
        ({"api_jwt_public_key_file": private}, "not a public key"),
        ({"api_jwt_public_key_file": small}, "RSA of 2048"),
    ):
        with pytest.raises(ConfigError, match=says) as wrong:
            tokens_of(settings_of(**fields))
        assert SECRET not in str(wrong.value)
    assert tokens_of(Settings()) is None
