"""A broker that is reached by TLS alone, by who logs in or shows a certificate, and an authority that signs them."""

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conf.kafka import kafka_client
from conf.settings import Settings
from local.kafka import Kafka
from local.server import HOST

USER, PASSWORD = "feeder", "s3cret of the feeder"
# Known to the mechanism PLAIN alone: `kafka-storage format` reads no such password.
ODD_USER, ODD_PASSWORD = "odd", 'q"u\\o te; user="x"'
DAY = datetime.timedelta(days=1)

# Added to what a broker of ours has: of two values the later counts. It logs in to nobody.
_PROPERTIES = """
listeners={protocol}://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners={protocol}://{host}:{port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,{protocol}:{protocol}
inter.broker.listener.name={protocol}
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config={plain} required username="{user}" password="{password}" user_{user}="{password}" user_{odd}="{odd_password}";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={scram} required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram} required;
ssl.client.auth={client}
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
"""  # noqa: E501


class Authority:
    """Signs certificates. `path` is its own, `signed` writes one with its key."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("tickstream tests")
        self.path = folder / "authority.pem"
        made = _certificate(self._name, self._name, self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.path.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def signed(self, name: str) -> tuple[Path, Path]:
        """A certificate for this machine's loopback, and its key, PKCS 8."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(_name(name), self._name, key.public_key()).add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False
        )
        certificate, secret = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, secret


class SecureKafka(Kafka):
    """`protocol` is SASL_SSL, with a user, or SSL, with a certificate of the client's."""

    def __init__(self, folder: Path, protocol: str) -> None:
        super().__init__(folder, heap="512m")
        self.protocol = protocol
        self.authority = Authority(self.folder / "certificates")
        self._own = self.authority.signed("broker")

    def settings(self, **changes: Any) -> Settings:
        """Those of a client that is let in, unless changed."""
        given: dict[str, Any] = {
            "kafka_bootstrap": self.url,
            "kafka_security_protocol": self.protocol,
            "kafka_ssl_ca": self.authority.path,
        }
        if self.protocol == "SSL":
            given["kafka_ssl_certificate"], given["kafka_ssl_key"] = self.authority.signed("client")
        else:
            given |= {"kafka_sasl_username": USER, "kafka_sasl_password": PASSWORD}
        return Settings.model_validate(given | changes)

    def _prepare(self) -> None:
        super()._prepare()
        keystore = self.folder / "broker.pem"
        keystore.write_bytes(b"".join(path.read_bytes() for path in self._own[::-1]))
        module = "org.apache.kafka.common.security"
        text = _PROPERTIES.format(
            protocol=self.protocol,
            host=HOST,
            port=self.port,
            controller=self.controller_port,
            client="required" if self.protocol == "SSL" else "none",
            plain=f"{module}.plain.PlainLoginModule",
            scram=f"{module}.scram.ScramLoginModule",
            user=USER,
            password=PASSWORD,
            odd=ODD_USER,
            # For JAAS, and once more for a file of properties.
            odd_password=_escaped(ODD_PASSWORD).replace("\\", "\\\\"),
            keystore=keystore,
            authority=self.authority.path,
        )
        with (self.folder / "server.properties").open("a") as file:
            file.write(text)

    def _format_options(self) -> list[str]:
        return [
            part
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for part in ("--add-scram", f'{mechanism}=[name="{USER}",password="{PASSWORD}"]')
        ]

    def _answers(self) -> bool:
        admin = AdminClient({**kafka_client(self.settings()), "log_level": 0, "socket.timeout.ms": 2000})
        return bool(admin.list_topics(timeout=2).brokers)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )
