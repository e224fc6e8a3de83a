"""The words in which librdkafka and Java are told how to reach a broker."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from pydantic import SecretStr, ValidationError

from conf.kafka import kafka_client, spark_kafka
from conf.settings import Settings, load_settings
from core.errors import ConfigError
from producers.topics import ensure_topics
from tests.secure_kafka import Authority

ROOT = Path(__file__).parents[3]
# A broker of ours speaks plainly.
OWN_WORDS = {"conf/kafka.py", "local/kafka.py"}
LOGIN = {"kafka_sasl_username": "me", "kafka_sasl_password": SecretStr('p"w\\')}


def test_plain_broker_takes_its_address_alone() -> None:
    assert kafka_client(Settings()) == {"bootstrap.servers": "127.0.0.1:9092"}
    assert spark_kafka(Settings()) == {"kafka.bootstrap.servers": "127.0.0.1:9092"}


def test_login_is_escaped_for_java_and_plain_for_librdkafka() -> None:
    settings = Settings(kafka_security_protocol="SASL_PLAINTEXT", kafka_sasl_mechanism="PLAIN", **LOGIN)
    assert kafka_client(settings) == {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "me",
        "sasl.password": 'p"w\\',
    }
    assert spark_kafka(settings) == {
        "kafka.bootstrap.servers": "127.0.0.1:9092",
        "kafka.security.protocol": "SASL_PLAINTEXT",
        "kafka.sasl.mechanism": "PLAIN",
        "kafka.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required"
        ' username="me" password="p\\"w\\\\";',
    }


def test_certificates_are_files_for_librdkafka_and_text_for_java(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("ca", "certificate", "key")}
    for name, path in files.items():
        path.write_text(f"{name} in PEM")
    given = {f"kafka_ssl_{name}": path for name, path in files.items()}
    settings = Settings(kafka_security_protocol="SSL", **given)
    assert {name: value for name, value in kafka_client(settings).items() if name.startswith("ssl.")} == {
        "ssl.ca.location": str(files["ca"]),
        "ssl.certificate.location": str(files["certificate"]),
        "ssl.key.location": str(files["key"]),
    }
    assert {name: value for name, value in spark_kafka(settings).items() if ".ssl." in name} == {
        "kafka.ssl.truststore.type": "PEM",
        "kafka.ssl.truststore.certificates": "ca in PEM",
        "kafka.ssl.keystore.type": "PEM",
        "kafka.ssl.keystore.certificate.chain": "certificate in PEM",
        "kafka.ssl.keystore.key": "key in PEM",
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "me"}, "needs KAFKA_SASL_USERNAME and"),
        ({"KAFKA_SASL_PASSWORD": "pa55"}, "need KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_KEY": __file__}, "belong together"),
        ({"KAFKA_SSL_CA": __file__}, "KAFKA_SSL_CA needs KAFKA_SECURITY_PROTOCOL=SSL"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA": "/nowhere.pem"}, "KAFKA_SSL_CA: there is no file"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA": "/"}, "KAFKA_SSL_CA: / cannot be read: Is a directory"),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL: Input should be 'PLAINTEXT', 'SSL'"),
    ],
)
def test_what_does_not_fit_together_is_said_without_values(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load_settings(given, env_file=None)
    assert "pa55" not in str(caught.value)


def test_password_shows_in_no_repr() -> None:
    assert "p\\" not in repr(Settings(kafka_security_protocol="SASL_SSL", **LOGIN))
    with pytest.raises(ValidationError) as caught:
        Settings(kafka_sasl_password=SecretStr("pa55"))
    assert "pa55" not in str(caught.value)


def test_nobody_reaches_a_broker_in_other_words() -> None:
    """A client that is told the address alone works until the broker wants more."""
    folders = (
        "alerts",
        "api",
        "benchmarks",
        "chaos",
        "conf",
        "dashboard",
        "jobs",
        "local",
        "ml",
        "producers",
        "stores",
    )
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in files if "bootstrap.servers" in path.read_text(encoding="utf-8")}
    assert found == OWN_WORDS


def test_a_bundle_with_comments_of_any_script_reaches_java(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("# Főtanúsítvány\nPEM", encoding="utf-8")
    settings = Settings(kafka_security_protocol="SSL", kafka_ssl_ca=bundle)
    assert spark_kafka(settings)["kafka.ssl.truststore.certificates"].endswith("PEM")


def test_a_certificate_that_is_none_is_said_in_one_line(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("no certificate")
    with pytest.raises(ConfigError, match=rf"^KAFKA_SSL_CA: {bundle} holds no certificate in PEM"):
        load_settings({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA": str(bundle)}, env_file=None)
    with pytest.raises(ConfigError, match=r"^KAFKA_SASL_… or KAFKA_SSL_… is not right: .*ssl.ca.location"):
        ensure_topics(Settings(kafka_bootstrap="127.0.0.1:1", kafka_security_protocol="SSL", kafka_ssl_ca=bundle))


def test_a_certificate_and_a_key_must_fit(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.signed("client")
    _, other = authority.signed("other")
    locked = tmp_path / "locked.key"
    made = serialization.load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        made.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"pa55"),
        )
    )

    def loaded(certificate: Path, key: Path) -> Settings:
        given = {"KAFKA_SSL_CERTIFICATE": str(certificate), "KAFKA_SSL_KEY": str(key)}
        ours = {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA": str(authority.path)}
        return load_settings(given | ours, env_file=None)

    assert loaded(certificate, key).kafka_ssl_key == key
    for wrong in ((certificate, other), (key, certificate), (certificate, locked)):
        with pytest.raises(ConfigError, match=r"^KAFKA_SSL_CERTIFICATE, KAFKA_SSL_KEY: .* without a password \("):
            loaded(*wrong)
