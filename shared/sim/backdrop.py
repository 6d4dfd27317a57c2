"""The simulated yard without its people: a wall with a door, a fence before a hedge, asphalt with a painted gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shared.sim.scene import DOOR, FENCE, GATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Canvas: TypeAlias = NDArray[np.float32]
    Where: TypeAlias = NDArray[np.bool_] | NDArray[np.float32]

GROUND = 0.46
CORNER = 0.44


def backdrop(width: int, height: int) -> NDArray[np.uint8]:
    """The empty yard: uint8 BGR of shape (height, width, 3), the same every time."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = (columns + 0.5) / width, (rows + 0.5) / height
    grain = np.random.default_rng(1).normal(0, 1, (height, width)).astype(np.float32)
    canvas = np.zeros((height, width, 3), np.float32)
    _sky_and_hedge(canvas, x, y, grain)
    _wall(canvas, x, y, grain)
    _ground(canvas, x, y, grain)
    _paving(canvas, x, y)
    _fence(canvas, x, y)
    _door(canvas, x, y)
    vignette = 1.04 - 0.34 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    picture: NDArray[np.uint8] = np.clip(canvas * vignette[:, :, None], 0, 255).astype(np.uint8)
    return picture


def _sky_and_hedge(canvas: Canvas, x: Canvas, y: Canvas, grain: Canvas) -> None:
    canvas[:] = _blend((196, 168, 138), (214, 202, 190), y / 0.3)
    crown = 0.19 + 0.018 * np.sin(x * 41) + 0.012 * np.sin(x * 97 + 1)
    leaves = _blend((58, 84, 66), (34, 52, 40), (y - 0.2) / 0.3) + (grain * 6)[:, :, None]
    _paint(canvas, y > crown, leaves)


def _wall(canvas: Canvas, x: Canvas, y: Canvas, grain: Canvas) -> None:
    bricks = _blend((118, 138, 158), (96, 114, 134), (y - 0.04) / 0.45) + (grain * 2.5)[:, :, None]
    course = np.floor(y / 0.022)
    joint = (y % 0.022 < 0.0032) | ((x + course % 2 * 0.018) % 0.036 < 0.0016)
    bricks = bricks * np.where(joint, 0.88, 1.0)[:, :, None]
    _paint(canvas, (x < CORNER) & (y > 0.045), bricks)
    _paint(canvas, (x < CORNER + 0.012) & (y > 0.025) & (y < 0.05), (70, 78, 88))
    _paint(
        canvas,
        np.clip((x - CORNER) / 0.012, 0, 1) * (x < CORNER + 0.012) * (y > 0.05),
        (52, 60, 70),
    )


def _ground(canvas: Canvas, x: Canvas, y: Canvas, grain: Canvas) -> None:
    asphalt = _blend((116, 118, 118), (92, 92, 90), (y - GROUND) / (1 - GROUND))
    asphalt = asphalt + (grain * (2 + 3 * (y - GROUND)))[:, :, None]
    _paint(canvas, y > GROUND, asphalt)
    _paint(canvas, np.clip(1 - (y - GROUND) / 0.05, 0, 1) * (y > GROUND) * 0.35, (48, 50, 50))
    _paint(canvas, np.clip(1 - np.abs(x - CORNER) / 0.05, 0, 1) * (y > GROUND) * 0.12, (48, 50, 50))


def _paving(canvas: Canvas, x: Canvas, y: Canvas) -> None:
    _paint(canvas, _within(DOOR.points, x, y) * 0.20, (150, 176, 200))
    stripes = (x * 1.78 + y) % 0.05 < 0.012
    _paint(canvas, _within(FENCE.points, x, y) * np.where(stripes, 0.22, 0.07), (90, 200, 226))
    (ax, ay), (bx, by) = GATE.a, GATE.b
    line_x = ax + (bx - ax) * (y - ay) / (by - ay)
    half = 0.003 + 0.007 * (y - 0.5)
    dashed = (y % 0.09 < 0.066) & (y > by)
    _paint(canvas, (np.abs(x - line_x) < half) * dashed * 0.75, (214, 222, 224))
    for foot in (0.53, 0.99):
        post = np.abs(x - (ax + (bx - ax) * (foot - ay) / (by - ay))) < 0.004 + 0.006 * (foot - 0.5)
        _paint(canvas, post & (y < foot) & (y > foot - 0.05 - 0.09 * (foot - 0.5)), (40, 140, 226))


def _fence(canvas: Canvas, x: Canvas, y: Canvas) -> None:
    right = x > CORNER + 0.012
    mesh = (
        (((x * 1.78 + y) % 0.02 < 0.0022) | ((x * 1.78 - y) % 0.02 < 0.0022))
        & (y > 0.25)
        & (y < 0.47)
    )
    _paint(canvas, (right & mesh) * 0.35, (176, 180, 178))
    posts = right & ((x - 0.47) % 0.088 < 0.0055) & (y > 0.225) & (y < 0.492)
    _paint(canvas, posts, (128, 134, 134))
    for rail in (0.246, 0.466):
        _paint(canvas, right & (np.abs(y - rail) < 0.005), (146, 152, 152))


def _door(canvas: Canvas, x: Canvas, y: Canvas) -> None:
    glow = np.clip(1 - np.hypot((x - 0.21) * 1.78, y - 0.155) / 0.30, 0, 1) ** 2 * (x < CORNER)
    _paint(canvas, glow * 0.55 * (y < GROUND), (150, 214, 252))
    _paint(
        canvas,
        np.clip(1 - np.hypot((x - 0.21) * 1.2, (y - 0.5) * 1.5) / 0.24, 0, 1) * (y > GROUND) * 0.3,
        (140, 196, 228),
    )
    _paint(canvas, (np.abs(x - 0.21) < 0.058) & (y > 0.195) & (y < 0.478), (60, 66, 74))
    _paint(canvas, (np.abs(x - 0.21) < 0.048) & (y > 0.213) & (y < 0.478), (104, 74, 52))
    panel = (np.abs(np.abs(x - 0.21) - 0.024) < 0.016) & (
        ((y > 0.235) & (y < 0.325)) | ((y > 0.35) & (y < 0.455))
    )
    _paint(canvas, panel, (122, 90, 66))
    _paint(canvas, np.hypot((x - 0.247) * 1.78, y - 0.345) < 0.009, (120, 200, 224))
    _paint(canvas, (np.abs(x - 0.21) < 0.024) & (np.abs(y - 0.158) < 0.012), (226, 248, 255))
    _paint(canvas, (np.abs(x - 0.355) < 0.05) & (np.abs(y - 0.26) < 0.075), (64, 70, 78))
    _paint(
        canvas,
        (np.abs(x - 0.355) < 0.042) & (np.abs(y - 0.26) < 0.062),
        _blend((150, 118, 84), (96, 76, 58), (y - 0.2) / 0.12),
    )
    _paint(canvas, (np.abs(x - 0.355) < 0.0025) & (np.abs(y - 0.26) < 0.062), (64, 70, 78))


def _blend(top: tuple[int, int, int], bottom: tuple[int, int, int], share: Canvas) -> Canvas:
    part = np.clip(share, 0, 1)[:, :, None]
    mixed: Canvas = (np.asarray(top) * (1 - part) + np.asarray(bottom) * part).astype(np.float32)
    return mixed


def _paint(canvas: Canvas, where: Where, colour: tuple[int, int, int] | Canvas) -> None:
    """Cover where `where` says so (fully, or to a share), in place."""
    share = np.asarray(where, np.float32)[:, :, None]
    canvas[:] = canvas * (1 - share) + np.asarray(colour, np.float32) * share


def _within(points: Sequence[tuple[float, float]], x: Canvas, y: Canvas) -> Canvas:
    """1 inside the polygon (even-odd), 0 outside."""
    inside = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
        if ay != by:
            inside ^= ((ay <= y) != (by <= y)) & (x < ax + (bx - ax) * (y - ay) / (by - ay))
    return inside.astype(np.float32)
