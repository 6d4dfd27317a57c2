"""Settings of the platform and the services: one prefix, environment over file over default, each origin known."""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit, urlunsplit

import yaml
from pydantic import ByteSize, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.errors import Setup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

PREFIX = "VANTAGE_"
Network = IPv4Network | IPv6Network
AnySettings = TypeVar("AnySettings", bound=BaseSettings)


def _data_home() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "vantage"


class PlatformSettings(BaseSettings):
    """What every process needs to know. A service's own settings have the prefix `VANTAGE_<SERVICE>_`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    data_dir: Path = Field(default_factory=_data_home)
    bus_url: str = (
        "sqlite://"  # a folder below data_dir where no path is given; or kafka://host:port
    )
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca: Path | None = None  # PEM; the operating system's authorities where none is given
    kafka_cert: Path | None = None  # PEM, ours, where the brokers ask for one; with kafka_key
    kafka_key: Path | None = None
    kafka_session: Annotated[float, Field(ge=1, le=300)] = 6  # seconds until a member is missed
    kafka_replication: Annotated[int, Field(ge=1, le=9)] | None = None  # 3, or all brokers if fewer
    db_url: str = "sqlite+aiosqlite://"
    db_pool: Annotated[int, Field(ge=2, le=100)] = (
        10  # PostgreSQL connections of a service, at most
    )
    blob_url: str = "file://"
    s3_access_key: SecretStr | None = None  # of s3://; boto3's own chain where neither is set
    s3_secret_key: SecretStr | None = None
    cache_url: str = "memory://"  # or redis://host:port/db, which all processes share
    instance: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] = "main"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] | None = (
        None  # the service's own; 0 picks a free one
    )
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None  # the HTTP port + 1000
    public_url: str | None = None  # how browsers reach us, where that is not host and port
    gateway_url: str = "http://127.0.0.1:8000"  # where other processes of ours are reached
    url: str | None = None  # the server that commands talk to, with `token`
    token: SecretStr | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure_bind: bool = False
    camera_nets: Annotated[tuple[Network, ...], NoDecode] = ()
    webhook_nets: Annotated[tuple[Network, ...], NoDecode] = ()
    disk_budget: ByteSize = ByteSize(20 * 1000**3)
    body_limit: ByteSize = ByteSize(10 * 1000**2)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "json"
    otlp_endpoint: str | None = None  # of an OpenTelemetry collector, http://127.0.0.1:4318
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0  # of the frames and calls; alerts always
    log_file_size: ByteSize = ByteSize(10 * 1000**2)
    log_files: Annotated[int, Field(ge=0, le=100)] = 5  # of each process; 0: standard error alone
    admin_password: SecretStr | None = None
    master_key: SecretStr | None = None
    client_id: str | None = None  # how a process without the signing key gets its service tokens
    client_secret: SecretStr | None = None

    @field_validator("camera_nets", "webhook_nets", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        """Comma separated networks or addresses, or a list of them."""
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise ValueError("expected networks such as 192.168.1.0/24,10.0.0.7")
        return tuple(
            ip_network(str(part).strip(), strict=False) for part in parts if str(part).strip()
        )

    @field_validator("log_level", "kafka_security", "kafka_sasl_mechanism", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("otlp_endpoint", mode="after")
    @classmethod
    def _collector(cls, value: str | None) -> str | None:
        if value is None or (
            urlsplit(value).scheme in ("http", "https") and urlsplit(value).hostname
        ):
            return value or None
        raise ValueError("expected the collector's address, such as http://127.0.0.1:4318")

    @field_validator("data_dir", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()


@dataclass(frozen=True)
class Value:
    """One effective value and where it comes from; secrets are masked."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True)
class Configuration:
    """The file, the environment and the command line, read once; settings classes are filled from it.

    In the file, platform settings stand at the top and those of a service in its own section:
    `port = 8080` is VANTAGE_PORT, `[notifier]` with `timeout = 5` is VANTAGE_NOTIFIER_TIMEOUT.
    """

    document: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)  # of the command line, by field name

    @classmethod
    def read(cls, overrides: Mapping[str, Any] | None = None) -> Configuration:
        """Read VANTAGE_CONFIG, or `vantage.toml` or `vantage.yaml` in the data folder, where there is one.

        Raises:
            Setup: the file is missing or cannot be read.
        """
        environ = dict(os.environ)
        given = {name: value for name, value in (overrides or {}).items() if value is not None}
        path = _config_path(environ, given)
        return cls(
            document=_document(path) if path else {}, path=path, environ=environ, overrides=given
        )

    def platform(self) -> PlatformSettings:
        """The platform's settings.

        Raises:
            Setup: a value does not fit; names the value's origin and the remedy.
        """
        top = {key: value for key, value in self.document.items() if not isinstance(value, dict)}
        return self._fill(PlatformSettings, top, self.overrides)

    def service(self, name: str, settings: type[AnySettings]) -> AnySettings:
        """The settings of the service `name`, from its section and its environment variables."""
        section = self.document.get(name, {})
        return self._fill(settings, section if isinstance(section, dict) else {}, {})

    def check(self, services: Mapping[str, type[BaseSettings]]) -> None:
        """Refuse keys in the file that nobody reads.

        Raises:
            Setup: names the first unknown key and the nearest known one.
        """
        for key, value in self.document.items():
            if isinstance(value, dict):
                self._known_section(key, value, services)
            elif key not in PlatformSettings.model_fields:
                raise self._unknown(key, [*PlatformSettings.model_fields, *services])

    def misspelt(self, services: Mapping[str, type[BaseSettings]]) -> dict[str, str]:
        """Environment variables that look like settings and are none, each with the name that may be meant."""
        kinds: list[type[BaseSettings]] = [PlatformSettings, *services.values()]
        known = {variable(kind, key) for kind in kinds for key in kind.model_fields}
        known.add(f"{PREFIX}CONFIG")
        found = {}
        for name in sorted(self.environ):
            if name.startswith(PREFIX) and name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
                if near:
                    found[name] = near[0]
        return found

    def explain(self, name: str | None, settings: BaseSettings) -> list[Value]:
        """Every value of `settings` (of service `name`, None: of the platform) with its origin."""
        kind = type(settings)
        section = self.document if name is None else self.document.get(name, {})
        overrides = self.overrides if name is None else {}
        return [
            Value(
                variable(kind, key),
                _shown(getattr(settings, key)),
                self._origin(kind, key, section, overrides),
            )
            for key in kind.model_fields
        ]

    def _fill(
        self, kind: type[AnySettings], section: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> AnySettings:
        given = {
            key: value
            for key, value in section.items()
            if key in kind.model_fields and variable(kind, key) not in self.environ
        }
        try:
            return kind(**{**given, **overrides})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise self._refused(kind, first, section, overrides) from None

    def _refused(
        self,
        kind: type[BaseSettings],
        first: ErrorDetails,
        section: Mapping[str, Any],
        overrides: Mapping[str, Any],
    ) -> Setup:
        key = str(first["loc"][0]) if first["loc"] else ""
        name = variable(kind, key)
        origin = self._origin(kind, key, section, overrides)
        inner = "".join(f".{part}" for part in first["loc"][1:] if isinstance(part, int))
        return Setup(f"{name}{inner} ({origin}): {first['msg']}. Correct it there or remove it.")

    def _origin(
        self,
        kind: type[BaseSettings],
        key: str,
        section: Mapping[str, Any],
        overrides: Mapping[str, Any],
    ) -> str:
        if key in overrides:
            return "command line"
        if variable(kind, key) in self.environ:
            return f"environment {variable(kind, key)}"
        if key in section:
            return f"file {self.path}"
        return "default"

    def _known_section(
        self, name: str, section: Mapping[str, Any], services: Mapping[str, type[BaseSettings]]
    ) -> None:
        if name not in services:
            raise self._unknown(f"[{name}]", [f"[{service}]" for service in services])
        fields = services[name].model_fields
        for key in section:
            if key not in fields:
                raise self._unknown(f"{name}.{key}", [f"{name}.{known}" for known in fields])

    def _unknown(self, key: str, known: list[str]) -> Setup:
        near = difflib.get_close_matches(key, known, n=1)
        remedy = (
            f"did you mean {near[0]}?" if near else "remove it; `vantage config show` lists all"
        )
        return Setup(f"{self.path}: unknown setting {key}; {remedy}")


def variable(kind: type[BaseSettings], key: str) -> str:
    """The environment variable of a field, e.g. VANTAGE_NOTIFIER_TIMEOUT."""
    return f"{kind.model_config.get('env_prefix', '')}{key}".upper()


def _config_path(environ: Mapping[str, str], overrides: Mapping[str, Any]) -> Path | None:
    named = environ.get(f"{PREFIX}CONFIG")
    if named:
        return Path(named).expanduser()
    data_dir = overrides.get("data_dir") or environ.get(f"{PREFIX}DATA_DIR") or _data_home()
    folder = Path(data_dir).expanduser()
    candidates = [folder / name for name in ("vantage.toml", "vantage.yaml", "vantage.yml")]
    return next((path for path in candidates if path.is_file()), None)


def _document(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        read = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except OSError as error:
        raise Setup(
            f"VANTAGE_CONFIG: cannot read {path}: {error.strerror}. Name a TOML or YAML file."
        ) from None
    except (ValueError, yaml.YAMLError) as error:
        raise Setup(f"{path} is not readable as settings: {error}") from None
    if read is None:
        return {}
    if not isinstance(read, dict):
        raise Setup(f"{path}: expected names and values, got {type(read).__name__}")
    return {str(key): value for key, value in read.items()}


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, tuple | list):
        return ",".join(_shown(part) for part in value)
    return without_password(str(value)) if value is not None else ""


def without_password(text: str) -> str:
    """A URL with the password, where it has one, replaced by stars."""
    if "://" not in text or "@" not in text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return "********"
    if (
        "@" not in parts.netloc
    ):  # a password with a slash that is not encoded cuts the address short
        return f"{parts.scheme}://********"
    if parts.password is None:
        return text
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:********@{host}"))
