"""Every service is data that equals the table of the design, and all of it is said and heard by somebody."""

import importlib
from functools import cache

import pytest

from schemas.catalog import EVENTS
from schemas.topics import TOPICS
from services import main
from shared.service import Service
from tests.engines.folders import ROOT
from tests.house import tree
from tests.house.conftest import House

# name: (port, consumes, produces): DESIGN.md section 1, restricted to the topics that exist. Beside what is named
# here every service says `audit`: where it acts for a person.
TABLE: dict[str, tuple[int, str, str]] = {
    "gateway": (8000, "audit", ""),
    "vms": (8001, "detections tracks incidents alerts camera-status", "cameras"),
    "orchestrator": (
        8002,
        "detections predicates cameras rules",
        "plans tracks tracks-live predicates rules incidents alerts",
    ),
    "dashboard": (
        8003,
        "frames tracks-live cameras incidents alerts camera-status deliveries",
        "",
    ),
    "ingest": (8004, "cameras", "frames camera-status"),
    "inference": (8005, "frames plans incidents", "detections"),
    "notifier": (8006, "alerts incidents cameras", "deliveries"),
}
INSIDE = {"__init__.py", "service.py"}


@cache
def service(name: str) -> Service:
    declared = importlib.import_module(f"services.{name}.service").SERVICE
    assert isinstance(declared, Service)
    return declared


@pytest.mark.parametrize("name", TABLE)
def test_a_service_is_what_the_design_says(name: str) -> None:
    port, consumes, produces = TABLE[name]
    declared = service(name)
    assert (declared.name, declared.port) == (name, port)
    assert {topic.name for topic in declared.consumes} == set(consumes.split())
    assert {topic.name for topic in declared.produces} == {*produces.split(), "audit"}
    assert declared.description


@pytest.mark.parametrize("name", TABLE)
def test_the_settings_of_a_service_have_its_prefix(name: str) -> None:
    prefix = service(name).settings.model_config.get("env_prefix", "")
    assert prefix == f"VANTAGE_{name.upper()}_"


@pytest.mark.parametrize("name", TABLE)
def test_a_service_has_tests(name: str) -> None:
    assert list((ROOT / "tests" / "unit" / name).rglob("test_*.py"))


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: str(topic.name))
def test_a_topic_is_said_by_somebody_and_heard_by_somebody(topic: object) -> None:
    assert [name for name in TABLE if topic in service(name).produces]
    assert [name for name in TABLE if topic in service(name).consumes]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event.__name__))
def test_every_topic_of_an_event_exists(event: type) -> None:
    assert set(getattr(event, "topics", ())) <= set(TOPICS)


def test_the_services_folder_holds_services_and_their_compositions() -> None:
    inside = {path.relative_to(ROOT).parts[1] for path in tree.python("services")}
    names = {name.removesuffix(".py") for name in inside}
    assert names <= {"__init__", *tree.COMPOSERS, *tree.COMMANDS, *tree.SERVICES}


@pytest.mark.parametrize("name", TABLE)
def test_a_service_folder_has_what_every_service_has(name: str) -> None:
    assert {path.name for path in (ROOT / "services" / name).iterdir()} >= INSIDE


async def test_a_service_listens_to_what_it_declares_and_to_nothing_else(house: House) -> None:
    heard = {
        name: {topic.name for one in running.subscriptions for topic in one.topics}
        for name, running in house.running.items()
    }
    assert heard == {name: set(consumes.split()) for name, (_, consumes, _) in TABLE.items()}


async def test_no_two_subscriptions_share_a_group(house: House) -> None:
    groups = [one.group for running in house.running.values() for one in running.subscriptions]
    assert sorted(groups) == sorted(set(groups))


def test_the_list_of_services_is_complete_and_loads() -> None:
    assert set(main.SERVICES) == set(tree.SERVICES) == set(TABLE)
    assert [main.load(name).name for name in main.SERVICES] == list(main.SERVICES)
