"""The one guard of outgoing connections: allowed scheme, one name look-up, every address checked, the address pinned."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Literal
from urllib.parse import SplitResult, urlsplit, urlunsplit

from shared.errors import Invalid, Unavailable

if TYPE_CHECKING:
    import httpx

    from shared.settings import Network

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to literal addresses, all of them."""

CAMERA_SCHEMES = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
LOCAL_SCHEMES = (
    "file",
    "images",
    "sim",
    "webcam",
)  # no connection is made: their own readers check them
WEBHOOK_SCHEMES = {"https": 443, "http": 80}

# Forms that carry an IPv4 address inside an IPv6 one: a router on the way may unwrap them.
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_SHARED = ipaddress.ip_network("100.64.0.0/10")  # carrier-grade NAT, RFC 6598
_LONGEST = 2048
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}\.?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A checked URL. `address` is the one to connect to; None for a source that makes no connection."""

    url: str
    scheme: str
    host: str
    port: int
    address: Address | None

    @property
    def pinned(self) -> str:
        """The URL with the checked address in place of the host name, for clients that would look it up again."""
        if self.address is None:
            return self.url
        parts = urlsplit(self.url)
        literal = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        login, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{login}{at}{literal}:{self.port}"))


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What one kind of target may be."""

    field: str
    setting: str
    nets: Sequence[Network]
    schemes: dict[str, int]
    kind: Literal["camera", "webhook"]


class Egress:
    """Says where we may connect. `own_ports` of this machine are never a target, whatever the settings say."""

    def __init__(
        self,
        *,
        camera_nets: Sequence[Network] = (),
        webhook_nets: Sequence[Network] = (),
        own_ports: Sequence[int] = (),
        resolve: Resolve | None = None,
    ) -> None:
        self._camera = Policy(
            field="url",
            setting="VANTAGE_CAMERA_NETS",
            nets=camera_nets,
            schemes=CAMERA_SCHEMES,
            kind="camera",
        )
        self._webhook = Policy(
            field="url",
            setting="VANTAGE_WEBHOOK_NETS",
            nets=webhook_nets,
            schemes=WEBHOOK_SCHEMES,
            kind="webhook",
        )
        self._own_ports = frozenset(own_ports)
        self._resolve = resolve or look_up

    async def camera(self, url: str) -> Target:
        """Check a camera's URL: private networks are fine, this machine is not.

        Raises:
            Invalid: scheme, host or an address is not allowed; names VANTAGE_CAMERA_NETS.
            Unavailable: the name cannot be looked up now.
        """
        parts = _split(url, self._camera)
        if parts.scheme in LOCAL_SCHEMES:
            return Target(url=url, scheme=parts.scheme, host="", port=0, address=None)
        return await self._check(parts, self._camera)

    async def addresses(self, url: str, *, patience: float) -> frozenset[Address]:
        """What the host of a camera's URL means now; nothing where that cannot be told in `patience` seconds."""
        try:
            host, port = _place(_split(url, self._camera), self._camera)
            async with asyncio.timeout(patience):
                found = literal(host) or await self._resolve(host, port)
        except (Invalid, Unavailable, TimeoutError):
            return frozenset()
        return frozenset(unwrapped(ipaddress.ip_address(text)) for text in found)

    async def webhook(self, url: str) -> Target:
        """Check a webhook's URL: public https only, unless VANTAGE_WEBHOOK_NETS lists the network.

        Raises:
            Invalid: scheme, host or an address is not allowed; names VANTAGE_WEBHOOK_NETS.
            Unavailable: the name cannot be looked up now.
        """
        return await self._check(_split(url, self._webhook), self._webhook)

    def http_client(self, *, timeout: float = 10.0) -> httpx.AsyncClient:
        """A client that checks each request as a webhook, connects to the checked address and follows no redirect."""
        from shared.security.pinned import pinned_client

        return pinned_client(self.webhook, timeout=timeout)

    async def _check(self, parts: SplitResult, policy: Policy) -> Target:
        host, port = _place(parts, policy)
        found = literal(host) or await self._resolve(host, port)
        addresses = [ipaddress.ip_address(text) for text in found]
        if not addresses:
            raise Unavailable(f"{host} has no address")
        for address in addresses:
            reason = self._refusal(address, port, parts.scheme, policy)
            if reason:
                raise Invalid(
                    f"{policy.field}: {host} ({address}) is refused: {reason}. "
                    f"To allow it, list its network in {policy.setting}.",
                    field=policy.field,
                )
        return Target(
            url=urlunsplit(parts), scheme=parts.scheme, host=host, port=port, address=addresses[0]
        )

    def _refusal(self, address: Address, port: int, scheme: str, policy: Policy) -> str:
        """Why this address may not be called; empty where it may."""
        meant = unwrapped(address)
        if port in self._own_ports and _of_this_machine(meant):
            return f"port {port} here is one of our own"
        if any(_inside(one, net) for net in policy.nets for one in {address, meant}):
            return ""
        if scheme == "http" and policy.kind == "webhook":
            return "webhooks need https"
        if meant != address:
            return f"it stands for {meant} in a transition format"
        return _camera_refusal(meant) if policy.kind == "camera" else _webhook_refusal(meant)


def unwrapped(address: Address) -> Address:
    """The IPv4 address inside a mapped, compatible, NAT64, 6to4 or Teredo address; else the address itself."""
    if address.version == 4:
        return address
    if any(address in net for net in _NAT64):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address.teredo is not None:
        inner = address.teredo[1]
    if inner is None and 1 < int(address) <= 0xFFFF_FFFF:
        inner = IPv4Address(int(address))
    return inner or address


def literal(host: str) -> list[str]:
    """The address that a host spells out, decimal, octal, hex and short forms of IPv4 included; empty for a name."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    if not _NUMERIC.fullmatch(host):
        return []
    try:
        return [socket.inet_ntoa(socket.inet_aton(host))]
    except OSError:
        return []


async def look_up(host: str, port: int) -> list[str]:
    """Every address of a host.

    Raises:
        Invalid: no host can have this name.
        Unavailable: there is none, or no answer within 5 s.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(5):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise Invalid(f"url: {host!a} is no name of a host; correct it", field="url") from None
    except (OSError, TimeoutError) as error:
        raise Unavailable(
            f"{host} cannot be looked up: {str(error) or 'no answer'}; "
            "check its spelling, write its address, or try again later"
        ) from None
    return list(dict.fromkeys(str(place[0]).partition("%")[0] for *_, place in found))


def _split(url: str, policy: Policy) -> SplitResult:
    if len(url) > _LONGEST or any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        raise Invalid(
            f"{policy.field}: no spaces or control characters, at most {_LONGEST} characters",
            field=policy.field,
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise Invalid(f"{policy.field}: {error}", field=policy.field) from None
    local = policy.kind == "camera" and parts.scheme in LOCAL_SCHEMES
    if parts.scheme not in policy.schemes and not local:
        allowed = [*policy.schemes, *(LOCAL_SCHEMES if policy.kind == "camera" else ())]
        raise Invalid(
            f"{policy.field}: scheme {parts.scheme!r} is not allowed; use {', '.join(allowed)}",
            field=policy.field,
        )
    return parts


def _place(parts: SplitResult, policy: Policy) -> tuple[str, int]:
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Invalid(f"{policy.field}: {error}", field=policy.field) from None
    if not host or "\\" in parts.netloc or parts.netloc.count("@") > 1 or "%" in host:
        raise Invalid(f"{policy.field}: the host is missing or malformed", field=policy.field)
    return host, port or policy.schemes[parts.scheme]


def _camera_refusal(address: Address) -> str:
    if _unusable(address):
        return _unusable(address)
    usable = address.is_private or address.is_global or _inside(address, _SHARED)
    return "" if usable else "it is a reserved address"


def _webhook_refusal(address: Address) -> str:
    if _unusable(address):
        return _unusable(address)
    return "" if address.is_global else "it is not a public address"


def _unusable(address: Address) -> str:
    named = (
        (address.is_loopback, "it is this machine (loopback)"),
        (address.is_link_local, "it is a link-local address"),
        (address.is_unspecified, "it is the unspecified address"),
        (address.is_multicast, "it is a multicast address"),
        (address.is_reserved, "it is a reserved address"),
        (address.version == 4 and int(address) >> 24 == 0, "it means this machine"),
        (getattr(address, "is_site_local", False), "it is a deprecated site-local address"),
    )
    return next((reason for holds, reason in named if holds), "")


def _inside(address: Address, net: Network) -> bool:
    return address.version == net.version and address in net


def _of_this_machine(address: Address) -> bool:
    """Whether the address is one of this machine's: only such an address can be bound."""
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
