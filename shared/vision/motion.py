"""How boxes move: a bank of Kalman filters over centre and size, one row a track.

Source: the constant-velocity filter of SORT (Bewley et al., "Simple Online and Realtime
Tracking", ICIP 2016), with three differences. Time is in seconds, so that any frame rate and
uneven frames give the same belief. Noise grows with the box, as in DeepSORT (Wojke et al., ICIP
2017). Velocity fades (an Ornstein-Uhlenbeck process, integrated exactly), so that a track that
is not seen comes to rest instead of leaving the picture. The four axes do not depend on each
other, so each is a filter of two states and nothing is inverted.
"""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.vision.boxes import FloatArray

SMALLEST = 1.0
"""No believed width or height goes below one pixel."""


class MotionModel(msgspec.Struct, frozen=True, kw_only=True):
    """What is believed of motion; lengths are in heights of the box, times in seconds."""

    place_error: float = 0.12
    """Standard deviation of a detected centre."""
    size_error: float = 0.05
    """Standard deviation of a detected width and height."""
    place_push: float = 0.75
    """Random change of velocity within one second."""
    size_push: float = 0.5
    """Random change of the growth of width and height within one second."""
    first_speed: float = 1.5
    """Standard deviation of the velocity of a new track."""
    first_growth: float = 0.4
    """Standard deviation of the growth of a new track."""
    place_memory: float = 5.0
    """Seconds in which the velocity of a track that is not seen falls to 1/e."""
    size_memory: float = 0.75
    """Seconds in which its growth falls to 1/e."""
    cruise_memory: float = 0.5
    """Seconds over which the velocity is averaged that a track goes on with when it is missed."""


class Motion:
    """Beliefs about many boxes: values, velocities and their covariances, [N, 5, 4].

    The second index is value, velocity, variance of the value, covariance, variance of the
    velocity; the third is centre x, centre y, width, height, in pixels and pixels a second.
    `cruise` [N, 3] is the fading sum of a track's velocity x and y and of their weights.
    """

    def __init__(self, model: MotionModel) -> None:
        self._error = _per_axis(model.place_error, model.size_error)
        self._push = _per_axis(model.place_push, model.size_push)
        self._first = _per_axis(model.first_speed, model.first_growth)
        self._memory = (model.place_memory, model.size_memory)
        self._cruise_memory = model.cruise_memory
        self.beliefs: FloatArray = np.zeros((0, 5, 4))
        self.cruise: FloatArray = np.zeros((0, 3))

    def boxes(self) -> FloatArray:
        """The believed boxes as `ltrb`, [N, 4]."""
        centre, half = self.beliefs[:, 0, :2], self.beliefs[:, 0, 2:] / 2.0
        return np.concatenate((centre - half, centre + half), axis=1)

    def predict(self, seconds: float) -> None:
        """Let the time pass."""
        value, velocity, spread, shared, pace = self.beliefs.transpose(1, 0, 2)
        kept, reach, on_spread, on_shared, on_pace = self._passage(seconds)
        push = (self._push * value[:, 3:]) ** 2
        spread += 2.0 * reach * shared + reach * reach * pace + push * on_spread
        shared += reach * pace
        shared *= kept
        shared += push * on_shared
        pace *= kept * kept
        pace += push * on_pace
        value += reach * velocity
        velocity *= kept
        np.maximum(value[:, 2:], SMALLEST, out=value[:, 2:])

    def rest(self, rows: NDArray[np.bool_], values: FloatArray) -> None:
        """Put the chosen tracks (mask [N]) to rest at earlier `values` [N, 4] of theirs."""
        self.beliefs[rows, 0] = values[rows]
        self.beliefs[rows, 1] = 0.0
        self.cruise[rows] = 0.0

    def coast(self, rows: list[int], seconds: float) -> None:
        """Let tracks that were seen `seconds` ago, and not now, go on at their average velocity.

        They keep their size: growth at the edge of an occlusion says nothing about the person.
        """
        average = np.zeros((len(rows), 4))
        average[:, :2] = self.cruise[rows, :2] / self.cruise[rows, 2:]
        self.beliefs[rows, 0] += (average - self.beliefs[rows, 1]) * seconds
        self.beliefs[rows, 1] = average

    def correct(self, rows: list[int], ltrb: FloatArray, seconds: float) -> None:
        """Take in what was seen `seconds` after the last frame: a box `ltrb` for each of `rows`."""
        seen = _centred(ltrb)
        value, velocity, spread, shared, pace = self.beliefs[rows].transpose(1, 0, 2)
        error = (self._error * seen[:, 3:]) ** 2
        trust, pull = spread / (spread + error), shared / (spread + error)
        surprise = seen - value
        self.beliefs[rows] = np.stack(
            (
                value + trust * surprise,
                velocity + pull * surprise,
                (1.0 - trust) * spread,
                (1.0 - trust) * shared,
                pace - pull * shared,
            ),
            axis=1,
        )
        kept = math.exp(-seconds / self._cruise_memory)
        self.cruise[rows] *= kept
        self.cruise[rows, :2] += (1.0 - kept) * self.beliefs[rows, 1, :2]
        self.cruise[rows, 2] += 1.0 - kept

    def add(self, ltrb: FloatArray) -> None:
        """Begin to believe in boxes, at rest, behind those that are known."""
        seen = _centred(ltrb)
        rest = np.zeros_like(seen)
        spread = (self._error * seen[:, 3:]) ** 2
        pace = (self._first * seen[:, 3:]) ** 2
        fresh = np.stack((seen, rest, spread, rest, pace), axis=1)
        self.beliefs = np.concatenate((self.beliefs, fresh))
        self.cruise = np.concatenate((self.cruise, np.zeros((len(seen), 3))))

    def keep(self, rows: list[int]) -> None:
        """Forget all tracks but these."""
        self.beliefs = self.beliefs[rows]
        self.cruise = self.cruise[rows]

    def _passage(self, seconds: float) -> FloatArray:
        """Exact integrals of the fading velocity and of unit noise over the time, [5, 4].

        Rows: share of the velocity kept, reach of one unit of velocity, noise on the spread,
        on the covariance and on the pace.
        """
        columns = []
        for memory in self._memory:
            kept = math.exp(-seconds / memory)
            reach = memory * (1.0 - kept)
            on_pace = memory / 2.0 * (1.0 - kept * kept)
            on_spread = max(memory * memory * (seconds - 2.0 * reach + on_pace), 0.0)
            columns += [(kept, reach, on_spread, reach * reach / 2.0, on_pace)] * 2
        return np.array(columns).T[:, None, :]


def _per_axis(place: float, size: float) -> FloatArray:
    return np.array((place, place, size, size))


def _centred(ltrb: FloatArray) -> FloatArray:
    extent = ltrb[:, 2:] - ltrb[:, :2]
    return np.concatenate((ltrb[:, :2] + extent / 2.0, extent), axis=1)
