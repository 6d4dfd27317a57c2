"""What all tests share: engines and data as fixtures, and no way off this machine."""

import ipaddress
import sys
from collections.abc import Iterator

import hypothesis
import pytest
import structlog
from blockbuster import BlockBuster, blockbuster_ctx

pytest_plugins = [
    "tests.engines.fixtures",
    "tests.e2e.fixtures",
    "tests.chaos.turns",
    "tests.chaos.results",
]

LOCAL_NAMES = {"localhost", "", None}


def pytest_configure() -> None:
    """From here on a connection or look-up that leaves the machine fails as if the network were down."""
    sys.addaudithook(_stay_here)
    # A busy machine is slow, not wrong: no example fails for its time.
    hypothesis.settings.register_profile("vantage", deadline=None)
    hypothesis.settings.load_profile("vantage")
    # The default prints local variables of every frame: 20 s for one traceback.
    renderer = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, renderer])


def _stay_here(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        _refuse_unless_local(arguments[1][0])
    elif event == "socket.getaddrinfo":
        _refuse_unless_local(arguments[0])


def _refuse_unless_local(host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name in LOCAL_NAMES:
        return
    try:
        address = ipaddress.ip_address(str(name).partition("%")[0])
    except ValueError:
        raise OSError(f"tests do not look up names: {name}") from None
    if not address.is_loopback and not address.is_unspecified:
        raise OSError(f"tests do not leave this machine: {name}")


@pytest.fixture
def loop_guard() -> Iterator[BlockBuster]:
    """Fail the test when its event loop is blocked by a call that waits."""
    with blockbuster_ctx() as guard:
        yield guard
