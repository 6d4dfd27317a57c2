"""Certificates made for a test: an authority, a server on the loopback interface, and a client, as PEM files."""

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_FOR = datetime.timedelta(days=2)
SKEW = datetime.timedelta(hours=1)
CLIENT = "vantage"


class Pair(NamedTuple):
    """A certificate and its key. `bundle` holds both in one file, key first (PKCS #8), as Kafka's PEM stores want it."""

    cert: Path
    key: Path
    bundle: Path


class Certificates(NamedTuple):
    """One authority and what it signed: `server` for 127.0.0.1 and localhost, `client` for the user `vantage`."""

    ca: Path
    server: Pair
    client: Pair


class _Authority(NamedTuple):
    key: ec.EllipticCurvePrivateKey
    cert: x509.Certificate


def make_certificates(folder: Path, *, client: str = CLIENT) -> Certificates:
    """Make an authority of its own in `folder`; keys are readable by their owner alone.

    Args:
        folder: made where it is missing.
        client: the common name of the client's certificate (PostgreSQL takes it for the user).
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority = _make_authority()
    ca = folder / "ca.pem"
    ca.write_bytes(_pem(authority.cert))
    return Certificates(
        ca=ca,
        server=_pair(folder, "server", authority, _server_extensions()),
        client=_pair(folder, "client", authority, _client_extensions(), name=client),
    )


def _make_authority() -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Vantage test authority")
    builder = _begun(name, name, key).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return _Authority(key, builder.sign(key, hashes.SHA256()))


def _pair(
    folder: Path,
    kind: str,
    authority: _Authority,
    extensions: list[x509.ExtensionType],
    name: str = "localhost",
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _begun(_name(name), authority.cert.subject, key)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    for extension in [issuer, *extensions]:
        builder = builder.add_extension(extension, critical=False)
    cert = _pem(builder.sign(authority.key, hashes.SHA256()))
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pair = Pair(*(folder / f"{kind}{ending}" for ending in (".pem", ".key", ".bundle.pem")))
    for path, data in ((pair.cert, cert), (pair.key, secret), (pair.bundle, secret + cert)):
        path.touch(mode=0o600)
        path.write_bytes(data)
    return pair


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _server_extensions() -> list[x509.ExtensionType]:
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return [
        x509.SubjectAlternativeName([x509.DNSName("localhost"), loopback]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
    ]


def _client_extensions() -> list[x509.ExtensionType]:
    return [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])]


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)
