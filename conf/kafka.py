"""How the brokers are reached: the same settings in the words of librdkafka, for Python, and of Java, for Spark."""

from typing import Any

from conf.settings import Settings

_LOGIN = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


def kafka_client(settings: Settings) -> dict[str, Any]:
    """What every Consumer, Producer and AdminClient of confluent-kafka begins with. It may hold a password."""
    found: dict[str, Any] = {"bootstrap.servers": settings.kafka_bootstrap}
    if settings.kafka_encrypted:
        files = {
            "ssl.ca.location": settings.kafka_ssl_ca,
            "ssl.certificate.location": settings.kafka_ssl_certificate,
            "ssl.key.location": settings.kafka_ssl_key,
        }
        found |= {name: str(path) for name, path in files.items() if path is not None}
    if settings.kafka_sasl:
        found |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_sasl_username,
            "sasl.password": settings.kafka_sasl_password.get_secret_value(),
        }
    if settings.kafka_security_protocol != "PLAINTEXT":
        found["security.protocol"] = settings.kafka_security_protocol
    return found


def spark_kafka(settings: Settings) -> dict[str, str]:
    """The same as options of Spark's source and sink. Certificates go as text: executors have no files of ours."""
    found = {"bootstrap.servers": settings.kafka_bootstrap}
    if settings.kafka_encrypted:
        texts = {
            ("ssl.truststore", "ssl.truststore.certificates"): settings.kafka_ssl_ca,
            ("ssl.keystore", "ssl.keystore.certificate.chain"): settings.kafka_ssl_certificate,
            ("ssl.keystore", "ssl.keystore.key"): settings.kafka_ssl_key,
        }
        for (store, name), path in texts.items():
            if path is not None:
                found |= {f"{store}.type": "PEM", name: path.read_text("utf-8", "replace")}  # comments
    if settings.kafka_sasl:
        found |= {"sasl.mechanism": settings.kafka_sasl_mechanism, "sasl.jaas.config": _login(settings)}
    if settings.kafka_security_protocol != "PLAINTEXT":
        found["security.protocol"] = settings.kafka_security_protocol
    return {f"kafka.{name}": value for name, value in found.items()}


def _login(settings: Settings) -> str:
    """A line of a JAAS configuration."""
    given = {"username": settings.kafka_sasl_username, "password": settings.kafka_sasl_password.get_secret_value()}
    options = " ".join(f'{name}="{_escaped(text)}"' for name, text in given.items())
    return f"{_LOGIN[settings.kafka_sasl_mechanism]} required {options};"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
