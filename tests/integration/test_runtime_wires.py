"""What travels on the wire: TLS where it is set, and live views that end in good order with the server."""

import datetime
import ssl
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.x509.oid import NameOID
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.engines import processes
from tests.integration.test_runtime_process import Server, once, start

PASSWORD = "correct horse"
SERVICE_RESTART = 1012


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    places = folder / "cert.pem", folder / "key.pem"
    places[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    places[1].write_bytes(private)
    return places


def test_with_a_certificate_it_speaks_tls_alone_and_its_cookies_say_so(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    server = start(
        tmp_path / "data",
        *("run", "gateway", "--port", "0", "--host", "localhost"),
        VANTAGE_TLS_CERT=str(cert),
        VANTAGE_TLS_KEY=str(key),
        VANTAGE_ADMIN_PASSWORD=PASSWORD,
    )
    try:
        assert server.url.startswith("https://localhost:")
        trust = ssl.create_default_context(cafile=cert)
        with httpx.Client(base_url=server.url, verify=trust) as browser:
            body = {"name": "admin", "password": PASSWORD}
            answer = browser.post("/api/v1/sessions", json=body)
        assert answer.status_code == 201
        lines = answer.headers.get_list("set-cookie")
        assert all("secure" in line.lower() for line in lines)
    finally:
        processes.end(server.process)


def test_a_certificate_that_is_none_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    cert.write_text("no certificate")
    given = {"VANTAGE_TLS_CERT": str(cert), "VANTAGE_TLS_KEY": str(key), "VANTAGE_PORT": "0"}
    ended = once(tmp_path / "data", "run", "gateway", **given)
    assert ended.returncode == 2
    assert "VANTAGE_TLS_CERT" in ended.stderr
    assert "Traceback" not in ended.stderr


def token(server: Server) -> str:
    with server.socket_client() as owner:
        body = {"name": "viewer", "scopes": ["media:read"]}
        made = owner.post("/api/v1/clients", json=body).json()
    form = {**made, "grant_type": "client_credentials"}
    answer = httpx.post(f"{server.url}/oauth2/token", data={**form, "scopes": ""})
    return str(answer.json()["access_token"])


def test_an_open_live_view_does_not_hold_up_the_end(tmp_path: Path) -> None:
    server = start(tmp_path / "data", "run", "gateway", "dashboard", "--port", "0")
    address = server.url.replace("http", "ws") + "/api/v1/live"
    headers = {"Authorization": f"Bearer {token(server)}"}
    code = None
    with connect(address, additional_headers=headers, proxy=None) as socket:
        assert socket.recv(timeout=10)
        server.process.terminate()
        try:
            while True:
                socket.recv(timeout=10)
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else None
    assert server.process.wait(10) == 0
    assert code == SERVICE_RESTART
    assert "Traceback" not in server.said
