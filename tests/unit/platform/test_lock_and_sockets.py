"""One server a folder, one program a port, nobody from elsewhere in clear."""

import socket
from pathlib import Path

import pytest

from shared.client import door
from shared.errors import Setup
from shared.runtime.lock import lock_folder
from shared.runtime.server import Sockets, bind, check_bind, socket_name
from shared.settings import PlatformSettings
from tests.engines import processes


def settings(tmp_path: Path, **values: object) -> PlatformSettings:
    return PlatformSettings.model_validate({"data_dir": tmp_path, "port": 0, **values})


def test_an_embedded_server_is_alone(tmp_path: Path) -> None:
    with lock_folder(tmp_path, ["vms"], alone=True):
        for alone in (True, False):
            with (
                pytest.raises(Setup, match="already running"),
                lock_folder(tmp_path, ["other"], alone=alone),
            ):
                pass
    with lock_folder(tmp_path, ["vms"], alone=True):
        pass


def test_without_embedded_adapters_each_service_runs_once(tmp_path: Path) -> None:
    with lock_folder(tmp_path, ["vms"], alone=False):
        with lock_folder(tmp_path, ["notifier"], alone=False):
            pass
        with (
            pytest.raises(Setup, match=r"vms is already running as 'main'.*VANTAGE_INSTANCE"),
            lock_folder(tmp_path, ["notifier", "vms"], alone=False),
        ):
            pass
        with lock_folder(tmp_path, ["notifier", "vms"], alone=False, instance="two"):
            pass
        with pytest.raises(Setup), lock_folder(tmp_path, [], alone=True):
            pass


def test_an_embedded_server_is_alone_whatever_its_name(tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path, ["vms"], alone=True),
        pytest.raises(Setup, match="VANTAGE_DATA_DIR"),
        lock_folder(tmp_path, ["vms"], alone=True, instance="two"),
    ):
        pass


@pytest.mark.parametrize(
    ("services", "instance", "name"),
    [
        (("gateway", "vms"), "main", "api"),
        (("vms", "gateway"), "two", "api.two"),
        (("ingest",), "main", "ingest"),
        (("ingest", "inference"), "two", "ingest.two"),
    ],
)
def test_each_instance_has_a_socket_of_its_own(
    services: tuple[str, ...], instance: str, name: str
) -> None:
    assert socket_name(services, instance) == name


def test_commands_find_a_gateway_of_any_name(tmp_path: Path) -> None:
    assert door(tmp_path) is None
    sockets = Sockets(settings(tmp_path), 8000, "api.two")
    sockets.path.parent.mkdir()
    (tmp_path / "run" / "api.sock").touch()  # left by one that was killed
    with sockets.bind_unix() as bound:
        bound.listen()
        assert door(tmp_path / "run") == sockets.path
    sockets.close()


def test_a_folder_that_cannot_be_made_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(Setup, match="VANTAGE_DATA_DIR"),
        lock_folder(tmp_path / "file" / "data", ["vms"], alone=True),
    ):
        pass


def test_a_free_port_is_picked_and_told(tmp_path: Path) -> None:
    sockets = Sockets(settings(tmp_path), 8000)
    try:
        place = sockets.listening
        assert place.port > 0
        assert place.metrics_port not in (0, place.port)
        assert place.url == f"http://127.0.0.1:{place.port}"
    finally:
        sockets.close()


def test_metrics_stand_a_thousand_above(tmp_path: Path) -> None:
    port = min(processes.free_port(), 64_000)
    sockets = Sockets(settings(tmp_path, port=port), 8000)
    sockets.close()
    assert sockets.listening.metrics_port == port + 1000


def test_a_taken_port_names_its_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Setup, match=f"port {port}.*--port or VANTAGE_PORT"):
            Sockets(settings(tmp_path, port=port), 8000)
        with pytest.raises(Setup, match=f"port {port}.*VANTAGE_METRICS_PORT"):
            Sockets(settings(tmp_path, metrics_port=port), 8000)


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(Setup, match="VANTAGE_HOST"):
        bind("192.0.2.1", 0, "--port")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "vantage.example"])  # noqa: S104 - refused
def test_in_clear_nobody_from_elsewhere_comes_in(tmp_path: Path, host: str) -> None:
    with pytest.raises(Setup, match="VANTAGE_TLS_CERT"):
        check_bind(settings(tmp_path, host=host))
    check_bind(settings(tmp_path, host=host, insecure_bind=True))
    check_bind(settings(tmp_path, host=host, tls_cert="c.pem", tls_key="k.pem"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_alone_needs_no_tls(tmp_path: Path, host: str) -> None:
    check_bind(settings(tmp_path, host=host))


def test_a_socket_left_by_a_killed_server_is_replaced(tmp_path: Path) -> None:
    sockets = Sockets(settings(tmp_path), 8000)
    sockets.path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(sockets.path))
    with sockets.bind_unix():
        assert sockets.path.stat().st_mode & 0o777 == 0o600
    sockets.close()


def test_a_path_too_long_for_a_socket_names_the_remedy(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    sockets = Sockets(settings(deep), 8000)
    sockets.path.parent.mkdir(parents=True)
    with pytest.raises(Setup, match="shorter path"):
        sockets.bind_unix()
    sockets.close()
