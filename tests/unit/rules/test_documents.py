"""Loading: everything wrong is said with path, value and remedy; hash, schema, durations, schedules."""

from datetime import datetime
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema
import pytest
import yaml

from schemas.event import micros
from shared.rules.document import digest, load
from shared.rules.durations import Duration, parse
from shared.rules.errors import RuleError
from shared.rules.lint import warnings
from shared.rules.plan import Plan
from shared.rules.predicates import PLANNED, PREDICATES
from shared.rules.rehearsal import rehearse
from shared.rules.scene import Scene
from shared.rules.schedules import Schedule
from shared.rules.schema import rule_schema
from tests.unit.rules.scenes import SCENE, rule

ENTER: dict[str, Any] = {"enter": {"class": "person", "zone": "door"}}
BAY = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]
CANONICAL = b'{"id":"r","match":{"enter":{"class":"person","zone":"door"}},"title":"x"}'

LOITERING = """
id: r1
title: After-hours loitering at rear door
level: high
scope: {cameras: [back]}
defs: {zones: {rear_door: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]}}
match: {all: [{schedule: {tz: site, not_between: ["07:00", "20:00"]}}, {dwell: {class: person, zone: rear_door, min: 45s}}]}
group_by: [track]
cooldown: 10m
verify: {policy: annotate, criteria: [a person stands there]}
actions: [{notify: console}]
tests:
- {dwell: 44.9s, at: "23:00", fires: false}
- {dwell: 45.1s, at: "23:00", fires: true}
- {dwell: 90s, at: "12:00", fires: false}
"""

WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    ({"match": ENTER, "colour": "red"}, "$.colour", "'red'", "use one of id, match"),
    ({"match": ENTER, "tittle": "x"}, "$.tittle", "'x'", "did you mean 'title'?"),
    ({"match": {"dwel": {}}}, "$.match.dwel", "{}", "did you mean 'dwell'?"),
    ({"match": {"enter": {"zone": "z", "clas": "p"}}}, "$.match.enter.clas", "'p'", "'class'"),
    ({"match": {"enter": {}}}, "$.match.enter", "{}", "missing required field `zone`"),
    ({"match": {"dwell": {"zone": "z", "min": 45}}}, "$.match.dwell.min", "45", "write the unit: 45s"),
    ({"match": {"dwell": {"zone": "z", "min": "45"}}}, "$.match.dwell.min", "'45'", "write the unit: 45s"),
    ({"match": {"dwell": {"zone": "z", "min": "0s"}}}, "$.match.dwell.min", "'0s'", "at least 1s"),
    ({"match": {"dwell": {"zone": "z", "min": "1s", "mode": "cumulative"}}}, "$.match.dwell.window", "None", "window: 10m"),
    ({"match": {"dwell": {"zone": "z", "min": "1s", "window": "1m"}}}, "$.match.dwell.window", "", "mode: cumulative"),
    ({"match": {"count": {"op": "=>", "n": 3}}}, "$.match.count.op", "'=>'", "use one of "),
    ({"match": {"count": {"op": ">=", "n": -1}}}, "$.match.count.n", "-1", ">= 0"),
    ({"match": {"cross": {"line": "l", "dir": "up"}}}, "$.match.cross.dir", "'up'", "use one of "),
    ({"match": {"enter": {"zone": "z"}, "leave": {"zone": "z"}}}, "$.match", "['enter', 'leave']", "join several"),
    ({"match": {}}, "$.match", "[]", "exactly one operator"),
    ({"match": {"all": []}}, "$.match.all", "[]", "write all:"),
    ({"match": {"all": [ENTER, {"x": 1}]}}, "$.match.all[1].x", "1", "use one of"),
    ({"match": {"cross": {"line": "l", "camera": ""}}}, "$.match.cross.camera", "''", "write what"),
    ({"match": {"cross": {"line": "l", "camera": "a", "within": "25h"}}}, "$.match.cross.within", "'90000s'", "at most 24h"),
    ({"match": {"cross": {"line": "l", "camera": "a", "same": "track"}}}, "$.match.cross.same", "'track'", "remove it"),
    ({"match": {"all": [ENTER, {"enter": {"camera": "a", "zone": "z"}}]}}, "$.match.all[0].enter", "'enter'", "write camera:"),
    ({"match": {"min_track_age": {"camera": "a"}}}, "$.match.min_track_age", "{'camera': 'a'}", "write it like"),
    ({"match": {"enter": {"camera": "a", "zone": "z"}}, "scope": {"cameras": ["b"]}}, "$.match.enter.camera", "'a'", "scope.cameras"),
    ({"match": {"enter": {"camera": "a", "zone": "z"}}, "group_by": ["track"]}, "$.group_by", "['track']", "group by camera"),
    ({"match": {"count": {"across": "zones", "op": ">", "n": 1}}}, "$.match.count.across", "'zones'", "use one of cameras"),
    ({"match": {"count": {"across": "cameras", "camera": "a", "op": ">", "n": 1}}}, "$.match.count.across", "'cameras'", "leave one out"),
    ({"match": {"distinct": {"of": ENTER, "op": ">", "n": 1}}}, "$.match.distinct", "{'of'", "write what"),
    ({"match": {"distinct": {"of": ENTER, "op": ">", "n": 1, "within": "0s"}}}, "$.match.distinct.within", "'0s'", "within: 30s"),
    ({"match": {"distinct": {"of": ENTER, "op": ">", "n": 1, "within": "9s", "same": "plate"}}}, "$.match.distinct.same", "'plate'", "remove it"),
    ({"match": {"distinct": {"of": {"count": {"op": ">", "n": 1}}, "op": ">", "n": 1, "within": "9s"}}}, "$.match.distinct.field", "'track'", "field: camera"),
    ({"match": {"distinct": {"of": {"count": {"op": ">", "n": 1}}, "field": "zone", "op": ">", "n": 1, "within": "9s"}}}, "$.match.distinct.field", "'zone'", "field: track"),
    ({"match": {"distinct": {"of": {"distinct": {}}, "op": ">", "n": 1, "within": "9s"}}}, "$.match.distinct.of.distinct", "{}", "name no cameras"),
    ({"match": {"distinct": {"of": {"seq": {}}, "op": ">", "n": 1, "within": "9s"}}}, "$.match.distinct.of.seq", "{}", "this version evaluates"),
    ({"match": {"schedule": {"between": [420, "20:00"]}}}, "$.match.schedule.between[0]", "420", "in quotes"),
    ({"match": {"schedule": {"between": ["7:00", "20:00"]}}}, "$.match.schedule.between[0]", "'7:00'", '"07:00"'),
    ({"match": {"schedule": {"between": ["07:00", "07:00"]}}}, "$.match.schedule.between", "", "whole day"),
    ({"match": {"schedule": {"days": ["mo"]}}}, "$.match.schedule.days[0]", "", "use one of "),
    ({"match": {"schedule": {"days": ["mon"], "tz": "Mars/Base"}}}, "$.match.schedule.tz", "'Mars/Base'", "IANA"),
    ({"match": {"schedule": {}}}, "$.match.schedule", "{}", "between"),
    ({"match": {"min_track_age": 3}}, "$.match.min_track_age", "3", "write the unit: 3s"),
    ({"match": ENTER, "id": "a b"}, "$.id", "'a b'", "letters, digits"),
    ({"match": ENTER, "version": "1.0"}, "$.version", "'1.0'", '"1.2.0"'),
    ({"match": ENTER, "version": 1.0}, "$.version", "1.0", "str"),
    ({"match": ENTER, "level": "urgent"}, "$.level", "'urgent'", "use one of "),
    ({"match": ENTER, "cooldown": 600}, "$.cooldown", "600", "write the unit: 600s"),
    ({"match": ENTER, "scope": {"tags": ["yard"]}}, "$.scope.tags", "['yard']", "scope.cameras"),
    ({"match": ENTER, "group_by": ["plate"]}, "$.group_by[0]", "'plate'", "use one of camera, class"),
    ({"match": ENTER, "group_by": ["line"]}, "$.group_by", "['line']", "leave line out"),
    ({"match": {"count": {"op": ">=", "n": 1}}, "group_by": ["track"]}, "$.group_by", "", "zone or camera"),
    ({"match": ENTER, "defs": {"zones": {"a": [[0, 0], [1, 1], [1, 0], [0, 1]]}}}, "$.defs.zones.a", "", "reorder"),
    ({"match": ENTER, "defs": {"zones": {"a": [[0, 0], [1.5, 1], [1, 0]]}}}, "$.defs.zones.a[1]", "[1.5, 1.0]", "from 0 to 1"),
    ({"match": ENTER, "defs": {"zones": {"a": [[0, 0], [1, 1]]}}}, "$.defs.zones.a", "'2 points'", "give 3 to 64"),
    ({"match": ENTER, "defs": {"zones": {"a": "left"}}}, "$.defs.zones.a", "'left'", "[[0.1, 0.2]"),
    ({"match": ENTER, "defs": {"lines": {"a": [[0, 0], [0, 0]]}}}, "$.defs.lines.a", "", "[[x1, y1], [x2, y2]]"),
    ({"match": ENTER, "defs": {"areas": {}}}, "$.defs.areas", "{}", "zones, lines, schedules"),
    ({"match": ENTER, "tests": [{"fires": True}]}, "$.tests[0]", "[]", "use one of dwell"),
    ({"match": ENTER, "tests": [{"dwell": "1s", "fires": True, "at": "noon"}]}, "$.tests[0].at", "'noon'", '"23:00"'),
    ({"match": ENTER, "actions": [{"page": "me"}]}, "$.actions[0].page", "'me'", ""),
    ({"match": {"dwell": "45s"}}, "$.match.dwell", "'45s'", "name: value"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "path", "value", "remedy"), WRONG)
def test_what_is_wrong_is_said_with_path_value_and_remedy(
    fields: dict[str, Any], path: str, value: str, remedy: str
) -> None:
    with pytest.raises(RuleError) as caught:
        load({"id": "r", **fields})
    found = caught.value.problems[0]
    assert found.path == path
    assert value in found.value
    assert remedy in str(found)
    assert caught.value.field == path


def test_a_document_over_several_cameras_is_read() -> None:
    gate = {"cross": {"camera": "gate", "class": "truck", "line": "in", "dir": "L2R"}}
    match = {"all": [gate, {"not": {"dwell": {"camera": "dock", "zone": "bay", "min": "1m"}}}]}
    loaded = load({"id": "r", "match": match, "defs": {"zones": {"bay": BAY}}})
    assert loaded.group_by == ()
    assert [part.cameras for part in loaded.parts.values()] == [("gate",), ("dock",)]
    elsewhere = load({"id": "r", "match": match})
    assert not {one.key for one in loaded.parts.values()} & {
        p.key for p in elsewhere.parts.values()
    }
    jsonschema.validate(loaded.document, rule_schema())
    again = load({"id": "other", "match": gate, "defs": {"zones": {"bay": BAY}}})
    (part,) = again.parts.values()
    assert part.key in {one.key for one in loaded.parts.values()}


def test_inline_tests_play_on_several_cameras() -> None:
    square = {"zones": {"bay": [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]},
              "lines": {"in": [[0.5, 0.1], [0.5, 0.9]]}}  # fmt: skip
    crossed = {"cross": {"camera": "gate", "line": "in", "dir": "L2R", "within": "30s"}}
    parked = {"dwell": {"camera": "dock", "class": "truck", "zone": "bay", "min": "5s"}}
    meets = [{"camera": "gate", "cross": "L2R"}, {"camera": "dock", "dwell": "6s", "after": "10s"}]
    document: dict[str, Any] = {
        "id": "r",
        "match": {"all": [crossed, parked]},
        "defs": square,
        "tests": [
            {"scenes": meets, "fires": True},
            {"scenes": [meets[0], {**meets[1], "after": "40s"}], "fires": False},
            {"scenes": [{**meets[0], "cross": "R2L"}, meets[1]], "fires": False},
            {"camera": "dock", "dwell": "6s", "fires": False},
            {"camera": "yard", "dwell": "6s", "fires": False},
        ],
    }
    found = rehearse(load(document), SCENE)
    assert [one.passed for one in found] == [True, True, True, True, False]
    assert "$.tests[4].camera" in found[4].problem
    count = {"across": "cameras", "zone": "bay", "op": ">=", "n": 3}
    crowd = {**document, "match": {"count": count}, "scope": {"cameras": ["a", "b"]}, "tests": [
        {"scenes": [{"camera": "a", "count": 2}, {"camera": "b", "count": 1}], "fires": True},
        {"scenes": [{"camera": "a", "count": 1}, {"camera": "b", "count": 1}], "fires": False},
    ]}  # fmt: skip
    assert all(one.passed for one in rehearse(load(crowd), SCENE))
    jsonschema.validate(document, rule_schema())


@pytest.mark.parametrize(
    ("test", "remedy"),
    [
        ({"scenes": [{"dwell": "1s"}], "dwell": "1s"}, "leave one out"),
        ({"scenes": [{"dwell": "1s"}] * 17}, "at most 16"),
        ({"scenes": [{"dwell": "1s", "count": 2}]}, "use one of"),
        ({"scenes": [{"path": [["1s", 0.5, 0.5]]}]}, "write path:"),
    ],
)
def test_scenes_that_do_not_fit_are_refused(test: dict[str, Any], remedy: str) -> None:
    with pytest.raises(RuleError, match=remedy):
        load({"id": "r", "match": ENTER, "tests": [{**test, "fires": True}]})


def test_lint_knows_the_cameras_of_a_rule_over_several() -> None:
    here = {
        "a": Scene(camera="a", site="x", zones=SCENE.zones),
        "b": Scene(camera="b", site="y", zones=SCENE.zones),
        "bare": Scene(camera="bare", site="x"),
    }
    count = {"across": "cameras", "zone": "door", "op": ">=", "n": 3}

    def found(match: dict[str, Any], **fields: Any) -> list[str]:
        said = warnings(load({"id": "r", "match": match, **fields}), here)
        return [f"{one.path} {one.message}" for one in said if one.path != "$.tests"]

    assert found({"count": count}) == []
    (sites,) = found({"count": count}, scope={"cameras": ["a", "b"]})
    assert sites.startswith("$.scope.cameras the cameras are of different sites")
    (lost,) = found({"enter": {"camera": "c", "zone": "door"}})
    assert lost == "$.match.enter no camera of the site can be asked this"
    (bare,) = found({"count": count}, scope={"cameras": ["a", "bare"]})
    assert bare == "$.match.count.zone camera 'bare' has no such zone"
    (place,) = found({"count": {**count, "zone": "attic"}})
    assert place == "$.match.count.zone camera 'a' has no such zone"
    twice = [{"enter": {"camera": "a", "zone": "door"}}, {"leave": {"camera": "b", "zone": "door"}}]
    assert [one.split(":")[0] for one in found({"all": twice})][:1] == [
        "$.match moments on two cameras are never the same moment"
    ]
    twice[0]["enter"]["within"] = "9s"
    assert not [one for one in found({"all": twice}) if "same moment" in one]


@pytest.mark.parametrize("word", PLANNED)
def test_what_is_planned_is_refused_by_name(word: str) -> None:
    with pytest.raises(RuleError, match=f"`{word}` is not supported yet"):
        load({"id": "r", "match": {"all": [ENTER, {word: {}}]}})


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(RuleError) as caught:
        load({"id": "r!", "match": {"x": 1}, "defs": {"zones": {"a": 1}}, "tests": 3})
    assert [one.path for one in caught.value.problems] == [
        "$.id",
        "$.defs.zones.a",
        "$.match.x",
        "$.tests",
    ]


@pytest.mark.parametrize(
    "raw", [None, 3, "text", [], {}, {"id": "r"}, {1: 2}, {"id": 3, "match": ENTER}]
)
def test_what_is_no_document_is_refused(raw: object) -> None:
    with pytest.raises(RuleError):
        load(raw)


def test_a_date_is_no_json() -> None:
    with pytest.raises(RuleError, match="put it in quotes"):
        digest({"id": "r", "since": datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC"))})


def test_the_hash_knows_content_not_order() -> None:
    one = load({"id": "r", "match": ENTER, "title": "x"})
    assert one.hash == load({"title": "x", "match": ENTER, "id": "r"}).hash
    assert one.hash != load({"title": "y", "match": ENTER, "id": "r"}).hash
    assert one.hash == sha256(CANONICAL).hexdigest()


def test_the_example_of_the_language_loads_and_passes_its_own_tests() -> None:
    document = yaml.safe_load(LOITERING)
    loaded = load(document)
    back = Scene(camera="back", time_zone="Europe/Berlin")
    assert [test.passed for test in rehearse(loaded, back)] == [True, True, True]
    assert (loaded.head.cooldown, loaded.group_by) == (600_000_000, ("track",))
    jsonschema.validate(document, rule_schema())


def test_inline_tests_of_every_kind() -> None:
    crossing = rule(
        {"cross": {"line": "gate", "dir": "R2L"}},
        tests=[
            {"cross": "R2L", "fires": True},
            {"cross": "L2R", "fires": False},
            {"path": [["0s", 0.4, 0.5], ["2s", 0.6, 0.5]], "fires": True},
        ],
    )
    assert all(test.passed for test in rehearse(crossing, SCENE))
    crowd = rule(
        {"count": {"class": "dog", "zone": "door", "op": ">=", "n": 3, "for": "5s"}},
        tests=[
            {"count": 3, "for": "6s", "fires": True},
            {"count": 3, "for": "5s", "fires": False},
            {"count": 2, "for": "9s", "fires": False},
            {"count": 3, "for": "6s", "class": "cat", "fires": False},
        ],
    )
    assert all(test.passed for test in rehearse(crowd, SCENE))
    wrong = rule(ENTER, tests=[{"dwell": "300ms", "fires": True}, {"cross": "L2R", "fires": True}])
    first, second = rehearse(wrong, SCENE)
    assert (first.passed, first.fired) == (False, False)
    assert "needs a line" in second.problem


def test_a_rule_that_does_not_fit_a_camera_is_refused_there_alone() -> None:
    plan = Plan(SCENE, [rule({"enter": {"zone": "dor"}}, id="typo"), rule(ENTER, id="fine")])
    assert [one.rule.id for one in plan.rules] == ["fine"]
    assert "did you mean 'door'?" in str(plan.refused["typo"][0])
    assert len(plan.areas) == 1


def test_rules_that_ask_the_same_share_the_answer() -> None:
    dwell = {"dwell": {"zone": "door", "min": "5s"}}
    rules = [rule({"all": [dwell, {"min_track_age": f"{n + 1}s"}]}, id=f"r{n}") for n in range(9)]
    plan = Plan(SCENE, rules)
    assert len(plan.leaves) == 1 + 9
    assert len(plan.areas) == 1


def test_warnings_say_what_is_allowed_and_still_wrong() -> None:
    quiet = rule({"not": ENTER}, level="low", verify={"policy": "hold"}, status="draft")
    paths = [one.path for one in warnings(quiet, {})]
    assert paths == ["$.match", "$.level", "$.verify.policy", "$.status", "$.tests"]
    lost = rule(ENTER, scope={"cameras": ["cam", "attic"]}, tests=[{"dwell": "1s", "fires": True}])
    (unknown,) = warnings(lost, {"cam": SCENE})
    assert unknown.path == "$.scope.cameras"
    elsewhere = rule({"enter": {"zone": "roof"}}, tests=[{"dwell": "1s", "fires": True}])
    assert [one.path for one in warnings(elsewhere, {"cam": SCENE})] == ["$.match.enter.zone"]


def test_the_schema_knows_every_operator_and_refuses_what_the_loader_refuses() -> None:
    schema = rule_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    operators = schema["$defs"]["condition"]["properties"]
    assert set(operators) == {*PREDICATES, "distinct", "all", "any", "not"}
    validator = jsonschema.Draft202012Validator(schema)
    for fields, *_ in WRONG[:10]:
        if not {"tests", "defs"} & set(fields) and fields["match"] != WRONG[7][0]["match"]:
            refused = not validator.is_valid({"id": "r", **fields})
            assert refused or "window" in str(fields) or "mode" in str(fields)


@pytest.mark.parametrize(
    ("written", "micro"),
    [("45s", 45_000_000), ("1m30s", 90_000_000), ("10m", 600_000_000), ("0.4s", 400_000),
     ("250ms", 250_000), ("1h", 3_600_000_000), ("1d", 86_400_000_000), ("0s", 0)],
)  # fmt: skip
def test_durations(written: str, micro: int) -> None:
    assert parse(written) == micro


@pytest.mark.parametrize(
    "written",
    ["", "45", 45, 4.5, None, True, "1s1s", "30s1m", "-1s", "1 s", "1y", "0.0000001s", "999d"],
)
def test_what_is_no_duration(written: object) -> None:
    with pytest.raises(ValueError, match=r"; write|; round"):
        parse(written)
    assert isinstance(parse("1s"), Duration)


@pytest.mark.parametrize(
    ("schedule", "local", "holds"),
    [
        ({"between": ["07:00", "20:00"]}, "2026-06-01T07:00", True),
        ({"between": ["07:00", "20:00"]}, "2026-06-01T06:59", False),
        ({"between": ["07:00", "20:00"]}, "2026-06-01T20:00", False),  # half-open
        ({"not_between": ["07:00", "20:00"]}, "2026-06-01T20:00", True),
        ({"not_between": ["07:00", "20:00"]}, "2026-06-01T07:00", False),
        ({"between": ["22:00", "06:00"]}, "2026-06-01T23:30", True),
        ({"between": ["22:00", "06:00"]}, "2026-06-01T05:59", True),
        ({"between": ["22:00", "06:00"]}, "2026-06-01T06:00", False),
        ({"between": ["20:00", "24:00"]}, "2026-06-01T23:59", True),
        ({"days": ["mon"]}, "2026-06-01T12:00", True),
        ({"days": ["tue"]}, "2026-06-01T12:00", False),
        # A span past midnight belongs to the day on which it began: 2026-06-01 is a Monday.
        ({"between": ["22:00", "06:00"], "days": ["sun"]}, "2026-06-01T05:00", True),
        ({"between": ["22:00", "06:00"], "days": ["mon"]}, "2026-06-01T05:00", False),
        ({"between": ["22:00", "06:00"], "days": ["mon"]}, "2026-06-02T05:00", True),
        # Daylight saving begins 2026-03-29 and ends 2026-10-25 in Berlin: the wall clock decides.
        ({"between": ["03:00", "04:00"]}, "2026-03-29T03:30", True),
        ({"between": ["02:00", "03:00"]}, "2026-03-29T03:30", False),
        ({"between": ["02:00", "03:00"]}, "2026-10-25T02:30", True),
    ],
)
def test_schedules_follow_the_wall_clock(schedule: dict[str, Any], local: str, holds: bool) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    parsed = Schedule.parse(schedule, "$")
    for fold in (0, 1):
        moment = datetime.fromisoformat(local).replace(tzinfo=berlin, fold=fold)
        assert parsed.holds(micros(moment), parsed.zone("Europe/Berlin")) is holds


def test_a_named_schedule_and_the_site_zone() -> None:
    night = {"schedules": {"night": {"between": ["22:00", "06:00"]}}}
    document = rule({"all": [{"schedule": "night"}, ENTER]}, defs=night)
    assert Plan(SCENE, [document]).refused == {}
    missing = Plan(SCENE, [rule({"all": [{"schedule": "nigt"}, ENTER]}, defs=night)])
    assert "did you mean 'night'?" in str(missing.refused["rule"][0])
    lost = Plan(Scene(camera="cam", time_zone="Nowhere", zones=SCENE.zones), [document])
    assert "site has no known time zone" in str(lost.refused["rule"][0])
