"""Settings of the way to Kafka that cannot work are refused before anything is opened."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from shared.bus.kafka.access import Access, servers
from shared.errors import Setup
from tests.engines.certificates import make_certificates


@pytest.mark.parametrize(
    ("access", "remedy"),
    [
        (Access(security="SASL_SSL"), "set both"),
        (Access(security="SASL_SSL", username="a"), "VANTAGE_KAFKA_PASSWORD"),
        (Access(username="a", password="b"), "set it to SASL_SSL"),
        (Access(ca=Path("ca.pem")), "unset VANTAGE_KAFKA_CA"),
        (Access(security="SSL", key=Path("k")), "set VANTAGE_KAFKA_CERT"),
        (Access(security="SSL", ca=Path("/nowhere")), "VANTAGE_KAFKA_CA=/nowhere cannot be used"),
        (Access(security="SSL", cert=Path("/nowhere")), "VANTAGE_KAFKA_CERT or VANTAGE_KAFKA_KEY"),
    ],
)
def test_settings_that_contradict_each_other(access: Access, remedy: str) -> None:
    with pytest.raises(Setup, match=remedy):
        access.options()


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "made")
    text = tmp_path / "text.pem"
    text.write_text("hello")
    for access in (
        Access(security="SSL", ca=text),
        Access(security="SSL", cert=text, key=made.client.key),
        Access(security="SSL", cert=made.client.cert, key=made.server.key),
    ):
        with pytest.raises(Setup, match="cannot be used"):
            access.options()


def test_an_encrypted_key_asks_nobody_at_a_terminal(tmp_path: Path) -> None:
    made = make_certificates(tmp_path).client
    key = serialization.load_pem_private_key(made.key.read_bytes(), None)
    sealed = tmp_path / "sealed.key"
    sealed.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(Setup, match="without a passphrase"):
        Access(security="SSL", cert=made.cert, key=sealed).options()


def test_addresses() -> None:
    assert servers("kafka://a:1,b, [::1]:2/") == "a:1,b:9092,[::1]:2"
    assert servers("kafka://[::1]") == "[::1]:9092"


@pytest.mark.parametrize(
    "url", ["kafka://", "kafka://a:port", "kafka://a:0", "kafka://a,,b", "kafka://a:1/x"]
)
def test_urls_that_name_no_broker(url: str) -> None:
    with pytest.raises(Setup, match="use kafka://host:port"):
        servers(url)


def test_a_login_in_the_url_is_sent_to_its_settings() -> None:
    with pytest.raises(Setup, match="VANTAGE_KAFKA_USERNAME") as told:
        servers("kafka://ann:secret@host:1")
    assert "secret" not in str(told.value)
