"""Pictures of the people of the simulated yard: shaded figures made of capsules, with a soft shadow.

A figure is worked out once from signed distances (which give smooth edges for free) and then only laid on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shared.sim.scene import Actor

Colour: TypeAlias = tuple[int, int, int]
"""Blue, green, red."""

PHASES = 12
HEIGHT_STEP = 4
CACHED = 600

JACKETS: tuple[Colour, ...] = (
    (52, 72, 196), (150, 96, 42), (60, 138, 64), (40, 160, 214), (120, 60, 120), (96, 96, 104), (170, 150, 60),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = ((74, 56, 44), (50, 50, 54), (92, 100, 112), (58, 84, 110))
SKINS: tuple[Colour, ...] = ((150, 180, 224), (110, 142, 196), (70, 96, 140), (44, 62, 96))
HAIR: tuple[Colour, ...] = ((28, 32, 44), (44, 66, 96), (120, 130, 138), (60, 130, 178))


class Sprite(NamedTuple):
    """A figure ready to be laid on: colour times opacity, what it lets through (0..256), and where its feet are."""

    paint: NDArray[np.uint16]
    through: NDArray[np.uint16]
    foot: tuple[int, int]


class Figures:
    """Draws actors and remembers their pictures; one for each renderer."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, int, int], Sprite] = {}

    def of(self, actor: Actor, height: int) -> Sprite:
        """The figure of an actor `height` pixels tall."""
        tall = max(16, round(height / HEIGHT_STEP) * HEIGHT_STEP)
        phase = round(actor.stride * PHASES) % PHASES
        key = (actor.look, tall, actor.heading, phase)
        if key not in self._made:
            if len(self._made) >= CACHED:
                self._made.clear()
            self._made[key] = _sprite(actor.look, tall, actor.heading, phase / PHASES)
        return self._made[key]


class _Limb(NamedTuple):
    """A capsule: from a to b, in heights of the figure, with the feet at (0, 1)."""

    a: tuple[float, float]
    b: tuple[float, float]
    radius: float
    colour: Colour
    light: float = 1.0


def _sprite(look: int, tall: int, heading: int, stride: float) -> Sprite:
    wide, high = int(tall * 0.84) | 1, int(tall * 1.04)
    centre = wide // 2
    rows, columns = np.mgrid[0:high, 0:wide].astype(np.float32)
    x, y = (columns - centre) / tall, rows / tall
    paint = np.zeros((high, wide, 3), np.float32)
    cover = _shadow(x, y)
    for limb in _limbs(look, heading, stride):
        part = _around(limb, tall, centre)
        _add(limb, tall, (x[part], y[part]), paint[part], cover[part])
    seen = np.s_[:, slice(*_columns_in_use(cover))]
    # One number per channel although they are equal: broadcasting would cost three times as much per picture.
    through = np.round((1 - cover[seen]) * 256).astype(np.uint16)[:, :, None].repeat(3, axis=2)
    inked = np.round(paint[seen] * 256).astype(np.uint16)
    return Sprite(inked, through, (centre - seen[1].start, tall))


def _add(
    limb: _Limb,
    tall: int,
    place: tuple[NDArray[np.float32], NDArray[np.float32]],
    paint: NDArray[np.float32],
    cover: NDArray[np.float32],
) -> None:
    """Lay one limb over what is there, in place, lit from the right and rounded towards its edges."""
    x, y = place
    distance = _distance(x, y, limb)
    solid = np.clip(0.5 - distance * tall, 0.0, 1.0)
    depth = np.clip(-distance / limb.radius, 0.0, 1.0)
    light = limb.light * (0.72 + 0.38 * depth + 0.45 * np.clip(x, -0.2, 0.2))
    shade = np.clip(np.asarray(limb.colour, np.float32) * light[:, :, None], 0, 255)
    paint += (shade - paint) * solid[:, :, None]
    cover += (1 - cover) * solid


def _around(limb: _Limb, tall: int, centre: int) -> tuple[slice, slice]:
    """The pixels that a limb may touch."""
    pad = limb.radius * tall + 2
    xs, ys = (
        sorted((limb.a[0] * tall, limb.b[0] * tall)),
        sorted((limb.a[1] * tall, limb.b[1] * tall)),
    )
    return (
        slice(max(0, int(ys[0] - pad)), int(ys[1] + pad) + 1),
        slice(max(0, int(centre + xs[0] - pad)), int(centre + xs[1] + pad) + 1),
    )


def _columns_in_use(cover: NDArray[np.float32]) -> tuple[int, int]:
    used = np.flatnonzero(cover.max(axis=0) > 0)
    return int(used[0]), int(used[-1]) + 1


def _shadow(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    reach = ((x - 0.10) / 0.26) ** 2 + ((y - 0.985) / 0.045) ** 2
    soft: NDArray[np.float32] = (0.42 * np.clip(1.0 - reach, 0.0, 1.0)).astype(np.float32)
    return soft


def _distance(x: NDArray[np.float32], y: NDArray[np.float32], limb: _Limb) -> NDArray[np.float32]:
    """Signed distance to the capsule's outline, in heights; negative inside."""
    (ax, ay), (bx, by) = limb.a, limb.b
    dx, dy = bx - ax, by - ay
    length = max(dx * dx + dy * dy, 1e-9)
    along = np.clip(((x - ax) * dx + (y - ay) * dy) / length, 0.0, 1.0)
    away = np.hypot(x - ax - along * dx, y - ay - along * dy) - limb.radius
    return away.astype(np.float32)


def _limbs(look: int, heading: int, stride: float) -> list[_Limb]:
    """Farthest first: far arm and leg, near leg, torso, head, near arm."""
    jacket = JACKETS[look % len(JACKETS)]
    trousers = TROUSERS[(look >> 4) % len(TROUSERS)]
    skin, hair = SKINS[(look >> 7) % len(SKINS)], HAIR[(look >> 10) % len(HAIR)]
    shoe: Colour = (36, 36, 40)
    if heading == 0:
        return _standing(jacket, trousers, skin, hair, shoe)
    swing = math.sin(2 * math.pi * stride) * heading
    bob = 0.012 * abs(math.sin(2 * math.pi * stride))
    lean = 0.012 * heading
    return [
        *_arm(-swing, jacket, skin, 0.62),
        *_leg(swing, heading, trousers, shoe, 0.66),
        *_leg(-swing, heading, trousers, shoe, 1.0),
        _Limb((lean, 0.235 - bob), (0, 0.47), 0.088, jacket),
        _Limb((lean, 0.17), (lean, 0.14), 0.034, skin, 0.85),
        _Limb((lean * 1.5, 0.078 - bob * 0.5), (lean * 1.5, 0.09 - bob * 0.5), 0.064, skin),
        _Limb((-0.012 * heading, 0.058), (-0.026 * heading, 0.074), 0.056, hair),
        *_arm(swing, jacket, skin, 1.06),
    ]


def _standing(
    jacket: Colour, trousers: Colour, skin: Colour, hair: Colour, shoe: Colour
) -> list[_Limb]:
    sides = (-1, 1)
    return [
        *(_Limb((0.045 * s, 0.52), (0.052 * s, 0.93), 0.046, trousers, 0.95) for s in sides),
        *(_Limb((0.052 * s, 0.962), (0.066 * s, 0.966), 0.028, shoe) for s in sides),
        *(_Limb((0.105 * s, 0.235), (0.128 * s, 0.46), 0.036, jacket, 0.9) for s in sides),
        *(_Limb((0.13 * s, 0.50), (0.13 * s, 0.51), 0.026, skin) for s in sides),
        _Limb((0, 0.24), (0, 0.47), 0.098, jacket),
        _Limb((0, 0.17), (0, 0.14), 0.034, skin, 0.85),
        _Limb((0, 0.082), (0, 0.094), 0.062, skin),
        _Limb((0, 0.052), (0, 0.06), 0.06, hair),
    ]


def _leg(swing: float, heading: int, trousers: Colour, shoe: Colour, light: float) -> list[_Limb]:
    lift = 0.05 * max(0.0, -swing * heading)
    knee = (0.075 * swing + 0.018 * heading, 0.735)
    ankle = (0.125 * swing, 0.94 - lift)
    toe = (ankle[0] + 0.038 * heading, ankle[1] + 0.03)
    return [
        _Limb((0, 0.50), knee, 0.055, trousers, light),
        _Limb(knee, ankle, 0.04, trousers, light),
        _Limb((ankle[0], ankle[1] + 0.026), toe, 0.026, shoe, light),
    ]


def _arm(swing: float, jacket: Colour, skin: Colour, light: float) -> list[_Limb]:
    elbow, hand = (0.06 * swing, 0.37), (0.115 * swing, 0.50)
    return [
        _Limb((0, 0.22), elbow, 0.036, jacket, light),
        _Limb(elbow, hand, 0.031, jacket, light),
        _Limb(hand, (hand[0], hand[1] + 0.015), 0.026, skin, light),
    ]
