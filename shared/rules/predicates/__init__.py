"""The operators of `camrule/v1`, one file and one line each."""

from shared.rules.predicates.count import Count
from shared.rules.predicates.cross import Cross
from shared.rules.predicates.dwell import Dwell
from shared.rules.predicates.enter import Enter
from shared.rules.predicates.leave import Leave
from shared.rules.predicates.min_track_age import MinTrackAge
from shared.rules.predicates.port import Predicate
from shared.rules.predicates.schedule import OnSchedule

PREDICATES: dict[str, type[Predicate]] = {
    "enter": Enter,
    "leave": Leave,
    "dwell": Dwell,
    "cross": Cross,
    "count": Count,
    "schedule": OnSchedule,
    "min_track_age": MinTrackAge,
}

PLANNED = ("seq", "absent", "near", "speed", "rate", "event")
"""Words of the language that this version does not evaluate; a rule that uses one is refused, not half read."""
