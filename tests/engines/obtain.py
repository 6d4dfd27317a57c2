"""Get the real engines of the tests onto this machine: `make engines`.

Says what is missing and what it costs, shows progress, and never leaves a half-made folder.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from services.engines import kafka
from services.engines.kafka import Kafka
from services.engines.redis import Redis
from tests.engines import chromium, folders, postgres, rtsp, versitygw

GSTREAMER = (
    "gir1.2-gst-rtsp-server-1.0",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
    "python3-gi",
)
POM = Path(__file__).with_name("kafka.pom.xml")
say = Console(highlight=False).print


class Engine(NamedTuple):
    """One engine: is it here, what does it cost, how to get it."""

    name: str
    cost: str
    here: Callable[[], bool]
    get: Callable[[], None]


class CannotGet(Exception):
    """This machine cannot obtain the engine; the message is the remedy."""


def main() -> int:
    """Get what is missing; 1 when something stays missing and VANTAGE_REQUIRE_ENGINES=1."""
    missing = [engine for engine in ENGINES if not engine.here()]
    for engine in ENGINES:
        say(f"{engine.name}: {f'missing, costs {engine.cost}' if engine in missing else 'here'}")
    left = [engine for engine in missing if not _got(engine)]
    return 1 if left and os.environ.get("VANTAGE_REQUIRE_ENGINES") == "1" else 0


def _got(engine: Engine) -> bool:
    say(f"getting {engine.name} ...")
    try:
        engine.get()
    except (CannotGet, subprocess.CalledProcessError, OSError) as problem:
        say(f"  not got: {problem}. Tests that need it will be skipped.")
        return False
    return engine.here()


def kafka_here() -> bool:
    """Kafka's jars are in the cache and there is a Java to run them."""
    return not Kafka().missing()


def get_kafka() -> None:
    """Fetch the jars by Maven into a temporary folder, then rename it."""
    if any(shutil.which(tool) is None for tool in ("java", "mvn")):
        apt_install(["default-jre-headless", "maven"])
    if kafka_here():
        return
    folders.engines().mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="kafka-", dir=folders.engines()))
    try:
        shutil.copy(POM, work / "pom.xml")
        _maven(work)
        _publish(work / "libs", kafka.jars())
    finally:
        shutil.rmtree(work)


def _maven(work: Path) -> None:
    command = ["mvn", "-B", "-q", "-f", str(work / "pom.xml"), "dependency:copy-dependencies"]
    options = [f"-Dkafka.version={kafka.VERSION}", "-DincludeScope=runtime"]
    target = [f"-DoutputDirectory={work / 'libs'}"]
    with Console().status("Maven fetches 93 jars, 54 MB"):
        subprocess.run([*command, *options, *target], check=True)


def _publish(made: Path, place: Path) -> None:
    try:
        made.rename(place)
    except OSError:
        if not kafka_here():  # not merely another session that was quicker
            raise


def get_versitygw() -> None:
    """Build it with Go into a temporary folder, then rename that."""
    if shutil.which("go") is None:
        raise CannotGet("install Go 1.24 or newer, then run `make engines` again")
    folders.engines().mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="versitygw-", dir=folders.engines()))
    package = f"github.com/versity/versitygw/cmd/versitygw@v{folders.VERSITYGW_VERSION}"
    try:
        with Console().status("Go builds versitygw"):
            environment = {**os.environ, "GOBIN": str(work / "bin"), "GOFLAGS": "-p=2"}
            subprocess.run(["go", "install", package], check=True, env=environment)
        if not versitygw.here():
            (work / "bin").rename(folders.versitygw().parent)
    finally:
        shutil.rmtree(work)


def apt_install(packages: Sequence[str]) -> None:
    """Install Debian packages where that is possible, else say the command that a person can run."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise CannotGet(f"run this yourself: sudo apt-get install {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        with Console().status(f"apt-get {arguments[0]}"):
            subprocess.run(["apt-get", "-qq", *arguments], check=True, env=environment)


ENGINES = (
    Engine("Apache Kafka", "54 MB, about a minute by Maven", kafka_here, get_kafka),
    Engine(
        "PostgreSQL",
        "about 60 MB of system packages",
        lambda: not postgres.missing(),
        lambda: apt_install(["postgresql"]),
    ),
    Engine(
        "RTSP server (GStreamer)",
        "about 150 MB of system packages",
        rtsp.here,
        lambda: apt_install(GSTREAMER),
    ),
    Engine(
        "Chromium",
        "about 350 MB of system packages",
        lambda: chromium.executable() is not None,
        lambda: apt_install(["chromium"]),
    ),
    Engine(
        "Redis",
        "2 MB of system packages",
        lambda: not Redis().missing(),
        lambda: apt_install(["redis-server"]),
    ),
    Engine(
        "versitygw (S3)",
        "84 MB, about two minutes of building by Go",
        versitygw.here,
        get_versitygw,
    ),
    Engine(
        "promtool (Prometheus)",
        "about 90 MB of system packages",
        lambda: shutil.which("promtool") is not None,
        lambda: apt_install(["prometheus"]),
    ),
)

if __name__ == "__main__":
    sys.exit(main())
