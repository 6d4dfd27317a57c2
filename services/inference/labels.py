"""Class names of a model: those written in its file, or the 80 of COCO."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

COCO = tuple(
    """person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,
parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,
suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,
tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,
hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,
cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,
toothbrush""".replace("\n", "").split(",")
)
"""The classes of COCO 2017 in the order that detectors are trained with."""


def names_of(count: int | None, metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Labels of `count` classes (None: as many as are named); a class without a name is `class_<number>`.

    `metadata["names"]` holds a mapping or a list as a literal of Python, as Ultralytics exports write it.
    """
    written = _written(metadata.get("names", ""))
    if not written and count in (None, len(COCO)):
        return COCO
    if count is None:
        count = max(written) + 1
    return tuple(written.get(number, f"class_{number}") for number in range(count))


def _written(text: str) -> dict[int, str]:
    try:
        value = ast.literal_eval(text or "{}")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {}
    if isinstance(value, list | tuple):
        return {number: str(name) for number, name in enumerate(value)}
    if isinstance(value, dict):
        return {int(key): str(name) for key, name in value.items() if str(key).isdigit()}
    return {}
