"""JSON Web Tokens, where settings name a secret or a public key.

Exactly one algorithm is accepted, decided by the key and never by the token: HS256 for a secret, RS256 or ES256 for
a public key. A token has to have `exp`, `sub`, the audience and the issuer; `scope` (or `scp`) says what it may do.
"""

import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from api.security.keys import digest
from api.security.principal import SCOPES, Principal, Unauthorized
from conf.settings import Settings
from core.errors import ConfigError
from core.intervals import SECOND_US

LEAST_SECRET = 32  # bytes
LEAST_RSA = 2048  # bits
MAX_HELD = 1000
HELD_SECONDS = 60.0

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "the token has expired"),
    (jwt.ImmatureSignatureError, "the token is not valid yet"),
    (jwt.InvalidAudienceError, "the token is for another audience"),
    (jwt.InvalidIssuerError, "the token is of another issuer"),
)


class Tokens:
    """Judges tokens; those found good are held for a minute, and never beyond their end."""

    def __init__(self, key: Any, algorithm: str, audience: str, issuer: str, leeway: float) -> None:
        self._key = key
        self.algorithm = algorithm
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway
        self._held: dict[bytes, tuple[Principal, float]] = {}

    def __repr__(self) -> str:
        return f"Tokens({self.algorithm})"

    def principal(self, text: str) -> Principal:
        """The owner of a token. Raises Unauthorized, which says what is wrong with it."""
        name = digest(text)
        now = time.time()
        held = self._held.get(name)
        if held is not None and now < held[1]:
            return held[0]
        claims = self._claims(text)
        end = float(claims["exp"]) + self._leeway
        principal = _principal(claims, int(end * SECOND_US))
        if len(self._held) >= MAX_HELD:
            self._held.clear()
        self._held[name] = (principal, min(end, now + HELD_SECONDS))
        return principal

    def _claims(self, text: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                text,
                self._key,
                algorithms=[self.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "sub", "aud", "iss"]},
            )
        except jwt.PyJWTError as error:
            reason = next((text for kind, text in _REASONS if isinstance(error, kind)), "not a valid token")
            raise Unauthorized(reason) from None
        except (ValueError, TypeError, RecursionError, OverflowError):  # claims of odd types
            raise Unauthorized("not a valid token") from None
        return claims


def tokens_of(settings: Settings) -> Tokens | None:
    """What judges tokens, None when settings name no key for them.

    Raises ConfigError where the key is too weak or cannot be read, or audience or issuer are missing.
    """
    secret, path = settings.api_jwt_secret.get_secret_value(), settings.api_jwt_public_key_file
    if not secret and path is None:
        return None
    if secret and path is not None:
        raise ConfigError("TICKSTREAM_API_JWT_SECRET and TICKSTREAM_API_JWT_PUBLIC_KEY_FILE are both set: choose one")
    for name in ("audience", "issuer"):
        if not getattr(settings, f"api_jwt_{name}"):
            raise ConfigError(f"TICKSTREAM_API_JWT_{name.upper()} is missing: without it, any token would do")
    key, algorithm = (_secret(secret), "HS256") if path is None else _public_key(path)
    return Tokens(key, algorithm, settings.api_jwt_audience, settings.api_jwt_issuer, settings.api_jwt_leeway_seconds)


def _secret(secret: str) -> bytes:
    encoded = secret.encode()
    if len(encoded) < LEAST_SECRET:
        raise ConfigError(f"TICKSTREAM_API_JWT_SECRET is too short: at least {LEAST_SECRET} random bytes")
    if b"-----BEGIN" in encoded:
        raise ConfigError("TICKSTREAM_API_JWT_SECRET is a PEM key: name its file in TICKSTREAM_API_JWT_PUBLIC_KEY_FILE")
    return encoded


def _public_key(path: Path) -> tuple[Any, str]:
    name = "TICKSTREAM_API_JWT_PUBLIC_KEY_FILE"
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}: {path}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{name}: not a public key in PEM: {path}") from None
    if isinstance(key, RSAPublicKey) and key.key_size >= LEAST_RSA:
        return key, "RS256"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key, "ES256"
    raise ConfigError(f"{name}: neither RSA of {LEAST_RSA} bits or more nor P-256: {path}")


def _principal(claims: dict[str, Any], expires_us: int) -> Principal:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= 200 or not subject.isprintable():
        raise Unauthorized("not a valid token")
    asked = claims.get("scope", claims.get("scp", ()))
    names = asked.split() if isinstance(asked, str) else asked if isinstance(asked, list) else ()
    scopes = frozenset(scope for scope in SCOPES if scope in names)
    return Principal(f"jwt:{subject}", scopes, f"jwt:{digest(subject).hex()[:32]}", expires_us)
