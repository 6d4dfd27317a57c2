"""The rows of the fault plan: what is injected, what is expected beside "lost 0, twice 0, phantom 0", what it leaves open.

A test belongs to a row by `@pytest.mark.row("R4")`; `tests.chaos.results` counts its runs and writes the table.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """One fault."""

    injected: str
    expected: str
    open: str  # what a pass does not prove


KILL = "a crash of the process, not a loss of power: the page cache lives on"
ONE_BROKER = "one broker cannot show what `acks=all` is worth; R4x does"

ROWS: dict[str, Row] = {
    "R1": Row("kill -9 of a worker at each failpoint", "another takes over within 25 s", KILL),
    "R2": Row("kill -9 of the relay after publish, before mark", "said again, same id", KILL),
    "R3": Row("SIGTERM under load", "exit 0 within 10 s, nothing redelivered", "load of one group"),
    "R4": Row("kill -9 of the broker, and back", "every consumer goes on", ONE_BROKER),
    "R4d": Row(
        "the broker's disk full, or read-only; at the start and while it runs",
        "sends fail at their deadline, the outbox holds, all arrives in order",
        "what only the page cache had when the disk failed; one disk of three brokers",
    ),
    "R4x": Row(
        "three brokers: leader killed, leader frozen, one away",
        "what was acknowledged is all there",
        "a partition of the network between brokers",
    ),
    "R5": Row("SIGSTOP of the broker", "sends fail at their deadline, memory bounded", ONE_BROKER),
    "R6": Row("SIGSTOP of a worker past its session", "its late commit is refused", KILL),
    "R7": Row("members that come and go", "keys keep their order", "hundreds of members"),
    "R8": Row("1 % poison", "each bad record once among the dead letters", "every kind of poison"),
    "R9": Row("100 % poison", "the consumer stops, the topic is not emptied", ""),
    "R10": Row("dead letters refused; last on an idle partition", "offsets wait, then move on", ""),
    "R11": Row("dead letters replayed twice", "one effect a record, ids kept", ""),
    "R12": Row("kill -9 of PostgreSQL, and back", "no answer 2xx without a commit", KILL),
    "R12d": Row(
        "PostgreSQL's disk full, or read-only; at the start and while it runs",
        "503 with the remedy, no answer 2xx without a commit",
        "a disk that lies about a sync",
    ),
    "R13": Row("database slow, or a black hole", "time-outs hold, 503 within 2 s", ""),
    "R14": Row("16 writers, one transaction held open", "the relay skips no row", ""),
    "R15": Row("Redis killed, flushed, a black hole", "nothing opens that was shut", KILL),
    "R16": Row("calls cancelled in the middle", "no answer goes to another caller", ""),
    "R18": Row(
        "a webhook's receiver down or slow", "alerts and other channels wait for nobody", ""
    ),
    "R19": Row(
        "a link with latency, resets, a trickle, a black hole", "nothing is lost, all goes on", ""
    ),
    "R21": Row("clocks that jump or differ", "order and durations hold; refused at the start", ""),
    "R22": Row(
        "a camera unplugged, silent, cut, changed", "the gap is said, the stream returns", ""
    ),
    "R23": Row("cameras that fall together", "they return spread out", "32 real cameras"),
    "R24": Row(
        "a consumer of recordings that lags", "no restart in step", "recording does not exist yet"
    ),
    "R25": Row("two claim one camera; its owner killed", "one holder, with a fencing token", KILL),
    "R29": Row("hours of reconnects and rebalances", "memory and descriptors stay flat", "days"),
    "E2E": Row(
        "services of a whole house killed with -9 in the middle",
        "incidents equal the ground truth, one delivery id each",
        KILL,
    ),
}
