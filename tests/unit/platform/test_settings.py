"""Settings: environment over file over default, origins told, secrets masked, mistakes named with their remedy."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import Setup
from shared.settings import Configuration, without_password


class NotifierSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="VANTAGE_NOTIFIER_")

    timeout: Annotated[float, Field(gt=0)] = 5.0
    key: SecretStr = SecretStr("")


SERVICES = {"notifier": NotifierSettings}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("VANTAGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VANTAGE_DATA_DIR", str(tmp_path))


def write(tmp_path: Path, text: str, name: str = "vantage.toml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def origin(configuration: Configuration, name: str) -> str:
    values = configuration.explain(None, configuration.platform())
    return next(value.origin for value in values if value.name == name)


def test_environment_beats_file_beats_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 'port = 8100\nlog_level = "debug"\n[notifier]\ntimeout = 2\n')
    monkeypatch.setenv("VANTAGE_PORT", "8200")
    configuration = Configuration.read()
    platform = configuration.platform()
    assert (platform.port, platform.log_level, platform.host) == (8200, "DEBUG", "127.0.0.1")
    assert configuration.service("notifier", NotifierSettings).timeout == 2
    assert origin(configuration, "VANTAGE_PORT") == "environment VANTAGE_PORT"
    assert origin(configuration, "VANTAGE_LOG_LEVEL") == f"file {tmp_path / 'vantage.toml'}"
    assert origin(configuration, "VANTAGE_HOST") == "default"


def test_the_command_line_beats_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VANTAGE_PORT", "8200")
    configuration = Configuration.read({"port": 8300, "host": None})
    assert configuration.platform().port == 8300
    assert origin(configuration, "VANTAGE_PORT") == "command line"


def test_yaml_says_the_same_as_toml(tmp_path: Path) -> None:
    write(
        tmp_path, "camera_nets: [127.0.0.0/8, 10.1.2.3]\nnotifier: {timeout: 7}\n", "vantage.yaml"
    )
    configuration = Configuration.read()
    assert configuration.platform().camera_nets == (
        ip_network("127.0.0.0/8"),
        ip_network("10.1.2.3/32"),
    )
    assert configuration.service("notifier", NotifierSettings).timeout == 7


def test_the_named_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "port = 1234", "elsewhere.toml")
    monkeypatch.setenv("VANTAGE_CONFIG", str(path))
    assert Configuration.read().platform().port == 1234


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 8100", "unknown setting prot; did you mean port?"),
        ("[notifyer]\ntimeout = 1", r"unknown setting \[notifyer\]; did you mean \[notifier\]\?"),
        (
            "[notifier]\ntimout = 1",
            "unknown setting notifier.timout; did you mean notifier.timeout",
        ),
        ("zzzzzz = 1", "vantage config show"),
    ],
)
def test_unknown_keys_are_errors_with_a_remedy(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, text)
    with pytest.raises(Setup, match=said):
        Configuration.read().check(SERVICES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 99999", "VANTAGE_PORT .*vantage.toml.*65535"),
        ('host = ["a"]', "VANTAGE_HOST"),
        ('camera_nets = "300.1.1.1/8"', "VANTAGE_CAMERA_NETS"),
        ('log_level = "LOUD"', "VANTAGE_LOG_LEVEL"),
        ('instance = "Main One"', "VANTAGE_INSTANCE"),
    ],
)
def test_wrong_values_are_named_with_their_origin(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, text)
    with pytest.raises(Setup, match=said):
        Configuration.read().platform()


def test_a_wrong_value_of_a_service_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VANTAGE_NOTIFIER_TIMEOUT", "-1")
    with pytest.raises(Setup, match="VANTAGE_NOTIFIER_TIMEOUT"):
        Configuration.read().service("notifier", NotifierSettings)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vantage.toml", "port = = 1"),
        ("vantage.yaml", "a: [1"),
        ("vantage.yaml", "!!python/object/apply:os.system ['true']"),
        ("vantage.yaml", "- just\n- a list"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, text, name)
    with pytest.raises(Setup, match="vantage"):
        Configuration.read()


def test_a_missing_named_file_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VANTAGE_CONFIG", "/nowhere/vantage.toml")
    with pytest.raises(Setup, match="VANTAGE_CONFIG"):
        Configuration.read()


def test_secrets_are_masked_wherever_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 'bus_url = "kafka://user:canary@broker:9092"\n[notifier]\nkey = "canary"')
    monkeypatch.setenv("VANTAGE_ADMIN_PASSWORD", "canary")
    configuration = Configuration.read()
    shown = configuration.explain(None, configuration.platform())
    shown += configuration.explain("notifier", configuration.service("notifier", NotifierSettings))
    assert "canary" not in str(shown)
    assert any(value.value == "kafka://user:********@broker:9092" for value in shown)


def test_every_setting_is_explained() -> None:
    configuration = Configuration.read()
    platform = configuration.platform()
    names = {value.name for value in configuration.explain(None, platform)}
    assert names == {f"VANTAGE_{name.upper()}" for name in type(platform).model_fields}


@pytest.mark.parametrize("text", ["plain", "http://host/x", "a@b", "http://[::1", "http://u@h/"])
def test_texts_without_a_password_stay_or_hide(text: str) -> None:
    assert without_password(text) == text or "*" in without_password(text)


def test_a_variable_that_is_nearly_a_setting_is_pointed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VANTAGE_NOTIFIER_TIMEOUTS", "3")
    monkeypatch.setenv("VANTAGE_BUSURL", "sqlite://")
    monkeypatch.setenv("VANTAGE_TEST_DATA", "elsewhere")
    monkeypatch.setenv("VANTAGE_PORT", "0")
    assert Configuration.read().misspelt(SERVICES) == {
        "VANTAGE_BUSURL": "VANTAGE_BUS_URL",
        "VANTAGE_NOTIFIER_TIMEOUTS": "VANTAGE_NOTIFIER_TIMEOUT",
    }
