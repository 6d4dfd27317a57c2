"""A broker with a listener for each way to come in: plain, TLS, mutual TLS, and logins with and without TLS.

`alice` may do all, `bob` nothing; so may whoever comes without a login, and the client's certificate.
"""

from pathlib import Path
from typing import NamedTuple

from services.engines.kafka import Kafka
from tests.engines import processes
from tests.engines.certificates import CLIENT, Certificates, make_certificates
from tests.engines.kafka import KafkaBroker
from tests.engines.require import require_engine

PASSWORDS = {"alice": "wonder-land:1", "bob": "builder-2"}
LISTENERS = {
    "TLS": "SSL",
    "MUTUAL": "SSL",
    "LOGIN": "SASL_PLAINTEXT",
    "LOGINTLS": "SASL_SSL",
    "SCRAMONLY": "SASL_SSL",
}


class Doors(NamedTuple):
    """A broker, the URL of each of its listeners by name, and the certificates."""

    broker: KafkaBroker
    urls: dict[str, str]
    certificates: Certificates


def make_doors(folder: Path) -> Doors:
    """The started broker, or the skip (or failure) that says what is missing."""
    require_engine(Kafka().missing())
    certificates = make_certificates(folder / "certificates")
    ports = {name: processes.free_port() for name in LISTENERS}
    broker = _broker(folder / "broker", ports, certificates)
    broker.start()
    urls = {name: f"kafka://127.0.0.1:{port}" for name, port in ports.items()}
    return Doors(broker, {"PLAINTEXT": broker.url, **urls}, certificates)


def _broker(folder: Path, ports: dict[str, int], certificates: Certificates) -> KafkaBroker:
    plain, controller = processes.free_port(), processes.free_port()
    open_ports = {"PLAINTEXT": plain, **ports}
    addresses = [f"{name}://127.0.0.1:{port}" for name, port in open_ports.items()]
    kinds = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **LISTENERS}
    accounts = [
        f"{kind}=[name={name},password={password}]"
        for name, password in PASSWORDS.items()
        for kind in ("SCRAM-SHA-256", "SCRAM-SHA-512")
    ]
    return KafkaBroker(
        folder,
        port=plain,
        voters={1: controller},
        more={
            "listeners": ",".join([*addresses, f"CONTROLLER://127.0.0.1:{controller}"]),
            "advertised.listeners": ",".join(addresses),
            "listener.security.protocol.map": ",".join(f"{n}:{k}" for n, k in kinds.items()),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(certificates.server.bundle),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(certificates.ca),
            "listener.name.mutual.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:alice;User:CN={CLIENT}",
            **_logins("login", "logintls"),
            **_scram("scramonly"),
        },
        format=[part for account in accounts for part in ("--add-scram", account)],
    )


def _logins(*listeners: str) -> dict[str, str]:
    users = " ".join(f'user_{name}="{password}"' for name, password in PASSWORDS.items())
    module = f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
    found: dict[str, str] = {}
    for name in listeners:
        found |= _scram(name)
        found[f"listener.name.{name}.sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
        found[f"listener.name.{name}.plain.sasl.jaas.config"] = module
    return found


def _scram(listener: str) -> dict[str, str]:
    module = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    prefix = f"listener.name.{listener}"
    return {
        f"{prefix}.sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512",
        f"{prefix}.scram-sha-256.sasl.jaas.config": module,
        f"{prefix}.scram-sha-512.sasl.jaas.config": module,
    }
