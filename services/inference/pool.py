"""Threads that look. Cameras that share a detector take turns; where it takes batches, they share a call."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

from services.inference.backends.port import DetectorFailed
from services.inference.look import look_together, show, wish
from shared.errors import Invalid, VantageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.events.detections_made import Detection
    from services.inference.backends.port import Detector, Frame
    from services.inference.look import Look
    from shared.clock import Clock
    from shared.metrics import Metrics

Answer: TypeAlias = "list[Detection] | VantageError"


class Pool:
    """The threads of one detector: as many as it has use for. First come, first served."""

    def __init__(self, detector: Detector, clock: Clock, metrics: Metrics) -> None:
        model = detector.model
        self._batch, self._parallel = model.batch, model.parallel
        self._clock = clock
        self._seconds = metrics.inference_seconds.labels(model.name)
        self._threads = ThreadPoolExecutor(model.parallel, thread_name_prefix="look")
        self._waiting: deque[tuple[Look, asyncio.Future[Answer]]] = deque()
        self._busy = 0
        self._running: set[asyncio.Task[None]] = set()

    async def look(self, look: Look) -> list[Detection]:
        """What the detector sees.

        Raises:
            DetectorFailed: the model could not look.
            shared.errors.Invalid: the frame's picture is broken.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((look, future))
        self._start()
        answer = await future
        if isinstance(answer, VantageError):
            raise answer
        return answer

    def close(self) -> None:
        """End the threads; what waits is never answered."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._waiting and self._busy < self._parallel:
            self._busy += 1
            task = asyncio.get_running_loop().create_task(self._call(self._group()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _group(self) -> list[tuple[Look, asyncio.Future[Answer]]]:
        """Who waits longest, and those after it that ask for the same, up to a batch."""
        group = [self._waiting.popleft()]
        same = wish(group[0][0].plan)
        while len(group) < self._batch and self._waiting and wish(self._waiting[0][0].plan) == same:
            group.append(self._waiting.popleft())
        return group

    async def _call(self, group: list[tuple[Look, asyncio.Future[Answer]]]) -> None:
        looks = [look for look, _ in group]
        started = self._clock.monotonic()
        call = asyncio.get_running_loop().run_in_executor(self._threads, _answers, looks)
        try:
            await asyncio.wait([call])
        finally:
            self._busy -= 1
        self._seconds.observe(self._clock.monotonic() - started)
        for number, (_, future) in enumerate(group):
            if not future.done():
                _settle(future, call, number)
        self._start()


class Pools:
    """A pool for each detector, made when it first looks."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._pools: dict[int, Pool] = {}

    def of(self, detector: Detector) -> Pool:
        """The detector's pool."""
        found = self._pools.get(id(detector))
        if found is None:
            found = self._pools[id(detector)] = Pool(detector, self._clock, self._metrics)
        return found

    def close(self) -> None:
        """End all threads."""
        for pool in self._pools.values():
            pool.close()


def _settle(
    future: asyncio.Future[Answer], call: asyncio.Future[list[Answer]], number: int
) -> None:
    error = call.exception()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(call.result()[number])


def _answers(looks: Sequence[Look]) -> list[Answer]:
    """In a thread: show each frame; one that cannot be shown harms none of the others."""
    shown = [_shown(look) for look in looks]
    good = [
        (look, frame)
        for look, frame in zip(looks, shown, strict=True)
        if not isinstance(frame, Invalid)
    ]
    try:
        found = iter(
            look_together([each[0] for each in good], [each[1] for each in good]) if good else []
        )
    except (DetectorFailed, Invalid) as error:
        return [frame if isinstance(frame, Invalid) else error for frame in shown]
    return [frame if isinstance(frame, Invalid) else next(found) for frame in shown]


def _shown(look: Look) -> Frame | Invalid:
    try:
        return show(look)
    except Invalid as error:
        return error
