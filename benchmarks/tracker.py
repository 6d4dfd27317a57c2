"""The tracker alone on public detections: MOTA, IDF1 and milliseconds a frame, beside a plain SORT.

Four MOT15 training sequences (`mot/` of the test data), live default settings on all of them, online, no
interpolation, scored by py-motmetrics at IoU 0.5. Run: `.venv/bin/python -m benchmarks.tracker [--runs N]`.
"""

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks.sort import Sort
from shared.vision import mot
from shared.vision.boxes import FloatArray, to_ltrb
from shared.vision.mot import Row
from shared.vision.tracker import Tracker

RATES = {"ADL-Rundle-6": 30, "ETH-Sunnyday": 14, "KITTI-17": 10, "TUD-Stadtmitte": 25}
CROWD = 20

Frames: TypeAlias = list[tuple[FloatArray, FloatArray]]
Track: TypeAlias = Callable[[Frames, float], list[Row]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="timed passes; the median is printed")
    options = parser.parse_args()
    data = Path(os.environ.get("VANTAGE_TEST_DATA", "../shared")) / "mot"
    if not data.is_dir():
        raise SystemExit(f"no sequences in {data}; point VANTAGE_TEST_DATA at the test data")
    print("MOTA / IDF1 in percent, sw = identity switches")
    for title, track in TRACKERS.items():
        _score(title, track, data)
    crowd = statistics.median(_crowd_milliseconds() for _ in range(options.runs))
    print(
        f"vantage, {CROWD} boxes a frame: {crowd:.2f} ms of one core a frame (median of {options.runs})"
    )


def vantage(frames: Frames, fps: float) -> list[Row]:
    tracker = Tracker()
    tracker.open(epoch=1, at=0, size=(1, 1))
    rows = []
    for number, (boxes, scores) in enumerate(frames):
        at = round(number * 1_000_000 / fps)
        for seen in tracker.update(at, boxes, scores, ["person"] * len(boxes)):
            rows.append(Row(number + 1, seen.number, seen.box, seen.score))
    return rows


def sort(frames: Frames, fps: float) -> list[Row]:
    return _sort(frames, memory=1)


def patient_sort(frames: Frames, fps: float) -> list[Row]:
    return _sort(frames, memory=round(fps / 2))


def _sort(frames: Frames, memory: int) -> list[Row]:
    tracker = Sort(memory=memory)
    return [
        Row(number, identity, box, 1.0)
        for number, (boxes, _) in enumerate(frames, start=1)
        for identity, box in tracker.update(boxes)
    ]


TRACKERS: dict[str, Track] = {
    "SORT (reference settings)": sort,
    "SORT (half a second of memory)": patient_sort,
    "vantage (live defaults)": vantage,
}


def _score(title: str, track: Track, data: Path) -> None:
    print(title)
    results = []
    for name, fps in RATES.items():
        frames = _frames(data / name / "det.txt")
        start = time.process_time()
        rows = track(frames, fps)
        spent = (time.process_time() - start) * 1000 / len(frames)
        mota, idf1, switches = evaluate(data / name / "gt.txt", rows)
        results.append((mota, idf1))
        print(f"  {name:16} {mota:5.1f} / {idf1:5.1f}  sw {switches:3}  {spent:.2f} ms a frame")
    mota, idf1 = (statistics.mean(column) for column in zip(*results, strict=True))
    print(f"  {'mean':16} {mota:5.1f} / {idf1:5.1f}")


def _frames(path: Path) -> Frames:
    rows = mot.parse(path.read_text(), name=str(path))
    frames: list[list[Row]] = [[] for _ in range(max(row.frame for row in rows))]
    for row in rows:
        frames[row.frame - 1].append(row)
    return [_arrays(frame) for frame in frames]


def _arrays(rows: Sequence[Row]) -> tuple[FloatArray, FloatArray]:
    ltwh = np.array([row.box for row in rows], dtype=np.float64).reshape(-1, 4)
    return to_ltrb(ltwh), np.array([row.score for row in rows], dtype=np.float64)


def evaluate(truth: Path, rows: list[Row]) -> tuple[float, float, int]:
    """MOTA and IDF1 in percent and identity switches, by py-motmetrics from MOTChallenge text."""
    metrics = _motmetrics()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(mot.write(rows))
        file.flush()
        tracks = metrics.io.loadtxt(file.name, fmt="mot15-2D")
    known = metrics.io.loadtxt(str(truth), fmt="mot15-2D", min_confidence=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = metrics.utils.compare_to_groundtruth(known, tracks, "iou", distth=0.5)
        wanted = ["mota", "idf1", "num_switches"]
        row = metrics.metrics.create().compute(pairs, metrics=wanted).iloc[0]
    return 100 * float(row.mota), 100 * float(row.idf1), int(row.num_switches)


def _motmetrics() -> Any:  # noqa: ANN401 - carries no types
    if not hasattr(np, "asfarray"):  # motmetrics 1.4 calls it; numpy 2 has dropped it
        np.asfarray = np.asarray  # type: ignore[attr-defined]
    import motmetrics

    return motmetrics


def _crowd_milliseconds() -> float:
    """Twenty people who walk about and pass each other, ten frames a second, noisy boxes."""
    rng = np.random.default_rng(7)
    start = rng.uniform((0, 0), (1800, 900), (CROWD, 2))
    speed = rng.normal(0, 60, (CROWD, 2))
    frames = []
    for number in range(300):
        corner = start + speed * number / 10 + rng.normal(0, 2, (CROWD, 2))
        boxes = np.column_stack((corner, corner + np.array((60.0, 150.0))))
        frames.append((boxes, rng.uniform(0.5, 1.0, CROWD)))
    begun = time.process_time()
    vantage(frames, 10)
    return (time.process_time() - begun) * 1000 / len(frames)


if __name__ == "__main__":
    main()
