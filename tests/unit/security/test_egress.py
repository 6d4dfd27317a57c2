"""Where we may connect: every spelling of a forbidden address is refused, and nothing is looked up twice."""

from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_network

import httpx
import pytest

from shared.errors import Invalid
from shared.security.egress import Egress, Target
from shared.security.pinned import PinnedTransport

# host as it stands in a URL, may a camera be there, may a webhook (https) be there
TABLE = [
    ("8.8.8.8", True, True),
    ("93.184.216.34", True, True),
    ("[2606:4700:4700::1111]", True, True),
    ("192.168.1.20", True, False),
    ("10.0.0.7", True, False),
    ("172.16.3.4", True, False),
    ("100.64.0.9", True, False),  # carrier-grade NAT
    ("[fd12:3456::1]", True, False),  # unique local
    ("127.0.0.1", False, False),
    ("127.255.255.254", False, False),
    ("127.1", False, False),  # short form
    ("2130706433", False, False),  # decimal
    ("0x7f000001", False, False),  # hex
    ("0x7f.0.0.1", False, False),
    ("017700000001", False, False),  # octal
    ("0177.0.0.1", False, False),
    ("0", False, False),
    ("0.0.0.0", False, False),  # noqa: S104 - an address to be refused
    ("0.1.2.3", False, False),
    ("169.254.169.254", False, False),  # the clouds' metadata
    ("2852039166", False, False),
    ("224.0.0.1", False, False),
    ("255.255.255.255", False, False),
    ("240.0.0.1", False, False),
    ("[::1]", False, False),
    ("[::]", False, False),
    ("[fe80::1]", False, False),
    ("[ff02::1]", False, False),
    ("[fec0::1]", False, False),  # deprecated site-local
    ("[::ffff:127.0.0.1]", False, False),  # mapped
    ("[::ffff:7f00:1]", False, False),
    ("[::ffff:10.0.0.1]", False, False),
    ("[::127.0.0.1]", False, False),  # compatible
    ("[64:ff9b::7f00:1]", False, False),  # NAT64
    ("[64:ff9b::169.254.169.254]", False, False),
    ("[64:ff9b:1::a00:1]", False, False),
    ("[2002:7f00:1::]", False, False),  # 6to4
    ("[2002:a9fe:a9fe::1]", False, False),
    ("[2001:0:4136:e378:8000:63bf:3fff:fdd2]", False, False),  # Teredo
]


def resolving(*answers: str) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return answers

    return resolve


async def accepted(check: Callable[[str], Awaitable[Target]], url: str) -> bool:
    try:
        await check(url)
    except Invalid:
        return False
    return True


@pytest.mark.parametrize(("host", "camera", "webhook"), TABLE)
async def test_every_spelling_of_an_address(host: str, camera: bool, webhook: bool) -> None:
    egress = Egress()
    assert await accepted(egress.camera, f"rtsp://{host}/live") is camera
    assert await accepted(egress.webhook, f"https://{host}/hook") is webhook


@pytest.mark.parametrize(("host", "camera", "webhook"), TABLE)
async def test_a_name_is_no_way_around(host: str, camera: bool, webhook: bool) -> None:
    from shared.security.egress import literal

    egress = Egress(resolve=resolving(*literal(host.strip("[]"))))
    assert await accepted(egress.camera, "rtsp://camera.example/live") is camera
    assert await accepted(egress.webhook, "https://hook.example/") is webhook


async def test_one_bad_address_among_good_ones_is_enough() -> None:
    egress = Egress(resolve=resolving("93.184.216.34", "10.0.0.1"))
    with pytest.raises(Invalid, match="VANTAGE_WEBHOOK_NETS"):
        await egress.webhook("https://mixed.example/")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://93.184.216.34/",
        "http://93.184.216.34/",  # webhooks need https
        "https://user@93.184.216.34@127.0.0.1/",
        "https://93.184.216.34\\@127.0.0.1/",
        "https:///nowhere",
        "https://93.184.216.34:99999/",
        "https://[::1",
        "https://93.184.216.34/\r\nHost: x",
        "https://" + "a" * 3000,
        "-i /etc/passwd",
    ],
)
async def test_malformed_and_foreign_webhooks(url: str) -> None:
    with pytest.raises(Invalid):
        await Egress(resolve=resolving("93.184.216.34")).webhook(url)


@pytest.mark.parametrize("scheme", ["concat", "subfile", "data", "pipe", "exec", "ftp", "rtmp", ""])
async def test_cameras_have_few_schemes(scheme: str) -> None:
    with pytest.raises(Invalid, match="not allowed"):
        await Egress().camera(f"{scheme}://192.168.1.2/x")


async def test_a_simulated_camera_connects_to_nothing() -> None:
    target = await Egress().camera("sim://demo?seed=7")
    assert target.address is None


async def test_a_refusal_names_the_setting_that_allows_it() -> None:
    with pytest.raises(Invalid, match="VANTAGE_CAMERA_NETS") as refused:
        await Egress().camera("rtsp://127.0.0.1:8554/live")
    assert refused.value.field == "url"


async def test_listed_networks_are_allowed() -> None:
    egress = Egress(
        camera_nets=[ip_network("127.0.0.0/8")], webhook_nets=[ip_network("127.0.0.1/32")]
    )
    camera = await egress.camera("rtsp://user:pass@127.0.0.1:8554/live")
    assert camera.pinned == "rtsp://user:pass@127.0.0.1:8554/live"
    assert await accepted(egress.webhook, "http://127.0.0.1:9999/hook")
    assert not await accepted(egress.webhook, "http://127.0.0.2:9999/hook")


async def test_our_own_ports_are_never_a_camera() -> None:
    egress = Egress(camera_nets=[ip_network("127.0.0.0/8")], own_ports=[8000, 9000])
    assert not await accepted(egress.camera, "http://127.0.0.1:8000/api/v1/cameras")
    assert not await accepted(egress.camera, "http://[::ffff:127.0.0.1]:9000/metrics")
    assert await accepted(egress.camera, "http://127.0.0.1:8001/")


async def test_the_checked_address_is_pinned() -> None:
    answers = iter([("192.168.1.9",), ("127.0.0.1",)])

    async def rebinding(_host: str, _port: int) -> Sequence[str]:
        return next(answers)

    target = await Egress(resolve=rebinding).camera("rtsp://cam.example:8554/live?x=1")
    assert target.pinned == "rtsp://192.168.1.9:8554/live?x=1"
    assert target.host == "cam.example"


async def test_the_http_client_checks_every_request() -> None:
    client = Egress(resolve=resolving("10.0.0.1")).http_client()
    async with client:
        with pytest.raises(Invalid):
            await client.get("https://inside.example/")


async def test_the_http_client_connects_to_the_checked_address_and_keeps_the_name() -> None:
    seen: list[httpx.Request] = []

    class Wire(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return httpx.Response(302, headers={"location": "https://127.0.0.1/"})

    transport = PinnedTransport(Egress(resolve=resolving("93.184.216.34")).webhook)
    transport._inner = Wire()  # type: ignore[assignment]  # the wire alone is replaced
    async with httpx.AsyncClient(transport=transport) as client:
        answer = await client.get("https://hook.example/path")
    assert answer.status_code == 302
    assert len(seen) == 1
    assert seen[0].url.host == "93.184.216.34"
    assert seen[0].headers["host"] == "hook.example"
    assert seen[0].extensions["sni_hostname"] == "hook.example"
