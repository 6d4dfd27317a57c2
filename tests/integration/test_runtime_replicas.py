"""Two processes of each service behind one gateway, each on a data folder of its own: what the caller sees of it."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.engines import processes
from tests.integration.test_runtime_gateway import PASSWORD, credentials, csrf_of
from tests.integration.test_runtime_process import Server, start

WORKERS = 4
PATIENCE_S = 60.0


@dataclass
class House:
    """A gateway and two like processes behind it, told apart by the names of their sites."""

    folder: Path
    gateway: Server
    ports: dict[str, int]
    shared: dict[str, str]
    up: dict[str, Server] = field(default_factory=dict)

    def start(self, name: str) -> None:
        port = str(self.ports[name])
        more = {**self.shared, "VANTAGE_VMS_SITE_NAME": name, "VANTAGE_INSTANCE": name}
        self.up[name] = start(
            self.folder / name, *("run", "vms", "dashboard", "--port", port), **more
        )

    def end(self) -> None:
        for server in [*self.up.values(), self.gateway]:
            processes.end(server.process)

    @contextmanager
    def signed_in(self) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=self.gateway.url, timeout=30) as browser:
            body = {"name": "admin", "password": PASSWORD}
            assert browser.post("/api/v1/sessions", json=body).status_code == 201
            yield browser

    def answering(self, browser: httpx.Client, calls: int = 8) -> set[str]:
        """The processes that answer now."""
        answers = [browser.get("/api/v1/site") for _ in range(calls)]
        return {one.json()["name"] for one in answers if one.status_code == 200}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    tmp_path = tmp_path_factory.mktemp("replicas")
    ports = {name: processes.free_port() for name in ("first", "second")}
    gateway = start(
        tmp_path / "gateway",
        *("run", "gateway", "--port", "0"),
        VANTAGE_GATEWAY_UPSTREAMS=",".join(f"http://127.0.0.1:{one}" for one in ports.values()),
        VANTAGE_ADMIN_PASSWORD=PASSWORD,
    )
    found = House(tmp_path, gateway, ports, credentials(gateway))
    yield found
    found.end()


@pytest.fixture
def house(made: House) -> House:
    """Both up, whatever the test before did to them."""
    for name in made.ports:
        if name not in made.up or made.up[name].process.poll() is not None:
            made.start(name)
    with made.signed_in() as browser:
        until(lambda: made.answering(browser) == {"first", "second"})
    return made


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Load:
    """Callers that ask without a pause; `answers` counts (status, whether Retry-After was said)."""

    def __init__(self, house: House, token: str) -> None:
        self.answers: Counter[tuple[int, bool]] = Counter()
        self._over = threading.Event()
        self._url = house.gateway.url
        self._token = token
        self._threads = [threading.Thread(target=self._ask) for _ in range(WORKERS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int) -> None:
        """Let so many more calls be answered."""
        wanted = self.answers.total() + count
        until(lambda: self.answers.total() >= wanted)

    def _ask(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        with httpx.Client(base_url=self._url, headers=headers, timeout=30) as client:
            while not self._over.is_set():
                answer = client.get("/api/v1/site")
                self.answers[answer.status_code, "retry-after" in answer.headers] += 1


def test_under_load_one_is_killed_and_one_is_drained_and_callers_hardly_notice(
    house: House,
) -> None:
    with house.signed_in() as browser:
        with Load(house, browser.cookies["vantage_access"]) as load:
            load.more(40)
            processes.kill(house.up["first"].process)
            load.more(80)
            assert house.answering(browser) == {"second"}
            house.start("first")
            until(lambda: house.answering(browser) == {"first", "second"})
            killed = Counter(load.answers)
            processes.end(house.up["second"].process)
            load.more(40)
        assert killed - Counter({(200, False): killed[200, False]}) <= Counter(
            {(503, True): WORKERS}
        )
        assert load.answers - killed == Counter(
            {(200, False): load.answers[200, False] - killed[200, False]}
        )
        assert house.up["second"].process.returncode == 0


def test_what_is_open_ends_with_its_process_and_is_open_again_through_the_other(
    house: House,
) -> None:
    with house.signed_in() as browser, ExitStack() as stack:
        sockets = [stack.enter_context(live(house, browser)) for _ in range(2)]  # one at each
        processes.kill(house.up["first"].process)
        codes = [code for code in map(ended, sockets) if code is not None]
        assert codes == [1011]
        stack.enter_context(live(house, browser))
        # Changes go to who is left, each once.
        for number in range(4):
            made = browser.post(
                "/api/v1/cameras",
                json={"name": f"Yard {number}", "url": f"sim://demo?seed={number}"},
                headers=csrf_of(browser),
            )
            assert made.status_code == 201, made.text
        assert len(browser.get("/api/v1/cameras").json()["items"]) == 4


@contextmanager
def live(house: House, browser: httpx.Client) -> Iterator[ClientConnection]:
    cookie = f"vantage_access={browser.cookies['vantage_access']}"
    address = house.gateway.url.replace("http", "ws") + "/api/v1/live"
    headers = {"Cookie": cookie, "Origin": house.gateway.url}
    with connect(address, additional_headers=headers, proxy=None) as socket:
        assert json.loads(socket.recv(timeout=30))["type"] == "hello"
        yield socket


def ended(socket: ClientConnection) -> int | None:
    """The code with which a socket was closed; None where it is still open."""
    try:
        while True:
            socket.recv(timeout=3)
    except TimeoutError:
        return None
    except ConnectionClosed as end:
        return None if end.rcvd is None else int(end.rcvd.code)
