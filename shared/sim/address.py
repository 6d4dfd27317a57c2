"""What a `sim://` URL says: which scene, how large, how fast, how often."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from shared.errors import Invalid
from shared.sim.scene import LONGEST_S, SHORTEST_S, Scene

SCENES = ("demo",)
SMALLEST, LARGEST = (256, 144), (1920, 1080)


@dataclass(frozen=True, kw_only=True)
class SimAddress:
    """A parsed `sim://demo?seed=7&fps=5&size=640x360&duration=60&loop=0&resume=0&rate=max`.

    `size` is width and height in pixels, `duration` in seconds. With `resume` a restarted reader goes on one
    second after the last stored presentation time; with `rate=max` it runs as fast as it is read.
    """

    seed: int = 7
    fps: float = 5.0
    width: int = 640
    height: int = 360
    duration: float = 60.0
    loop: bool = False
    resume: bool = False
    unpaced: bool = False

    def scene(self) -> Scene:
        """The scene that this address shows."""
        return Scene(seed=self.seed, duration_s=self.duration)


def parse(url: str) -> SimAddress:
    """Read a `sim://` URL.

    Raises:
        shared.errors.Invalid: another scheme or scene, an unknown or repeated option, or a value out of range.
    """
    parts = urlsplit(url)
    if parts.scheme != "sim" or parts.netloc not in SCENES or parts.path not in ("", "/"):
        raise Invalid(f"{url!r} is no simulated camera; write sim://demo", field="url")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    known = ("seed", "fps", "size", "duration", "loop", "resume", "rate")
    for name, _ in pairs:
        if name not in known or len(options) != len(pairs):
            listed = ", ".join(known)
            raise Invalid(
                f"option {name!r} of {url!r}: give each of {listed} at most once", field="url"
            )
    width, height = _size(options.get("size", "640x360"))
    return SimAddress(
        seed=int(_number("seed", options.get("seed", "7"), 0, 2**31)),
        fps=_number("fps", options.get("fps", "5"), 1, 60),
        width=width,
        height=height,
        duration=_number("duration", options.get("duration", "60"), SHORTEST_S, LONGEST_S),
        loop=_flag("loop", options.get("loop", "0")),
        resume=_flag("resume", options.get("resume", "0")),
        unpaced=_choice("rate", options.get("rate", "own"), ("own", "max")) == "max",
    )


def _number(name: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise Invalid(
            f"{name}={text} of the simulated camera: give a number from {low:g} to {high:g}",
            field="url",
        )
    return value


def _flag(name: str, text: str) -> bool:
    return _choice(name, text, ("0", "1")) == "1"


def _choice(name: str, text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise Invalid(
            f"{name}={text} of the simulated camera: give one of {', '.join(allowed)}", field="url"
        )
    return text


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise Invalid(f"size={text} of the simulated camera: write it as 640x360", field="url")
    wide, high = int(width[:6]), int(height[:6])
    fits = SMALLEST[0] <= wide <= LARGEST[0] and SMALLEST[1] <= high <= LARGEST[1]
    if not fits or wide % 2 or high % 2:
        raise Invalid(
            f"size={text} of the simulated camera: give even numbers from {SMALLEST[0]}x{SMALLEST[1]}"
            f" to {LARGEST[0]}x{LARGEST[1]}",
            field="url",
        )
    return wide, high
