"""Three values and numbers over a tree of conditions (Kleene's strong logic; robustness as in STL).

TRUE, UNKNOWN and FALSE are 1, 0 and -1, so that `all` is min, `any` is max and `not` is minus: for values
and for margins alike.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

TRUE, UNKNOWN, FALSE = 1, 0, -1


class Expression(Protocol):
    """A condition over numbered leaves; leaf i is bit i of the masks."""

    def value(self, true: int, unknown: int) -> int:
        """TRUE, UNKNOWN or FALSE, given which leaves are true and which are unknown (unknown wins)."""
        ...

    def margin(self, gauge: Callable[[int], float]) -> float:
        """Robustness: at or above 0 where the condition holds; `gauge` gives that of a leaf."""
        ...

    def positive(self) -> Iterator[int]:
        """Leaves that speak for the condition: those not under a `not`, in the order of the document."""
        ...

    def leaves(self) -> Iterator[int]:
        """All leaves, in the order of the document."""
        ...


class One:
    """A single leaf."""

    __slots__ = ("_bit", "_index")

    def __init__(self, index: int) -> None:
        self._index = index
        self._bit = 1 << index

    def value(self, true: int, unknown: int) -> int:
        """The leaf's value."""
        if unknown & self._bit:
            return UNKNOWN
        return TRUE if true & self._bit else FALSE

    def margin(self, gauge: Callable[[int], float]) -> float:
        """The leaf's margin."""
        return gauge(self._index)

    def positive(self) -> Iterator[int]:
        """The leaf."""
        yield self._index

    def leaves(self) -> Iterator[int]:
        """The leaf."""
        yield self._index


class _Several:
    __slots__ = ("_parts",)

    def __init__(self, parts: tuple[Expression, ...]) -> None:
        self._parts = parts

    def positive(self) -> Iterator[int]:
        """Those of the parts."""
        for part in self._parts:
            yield from part.positive()

    def leaves(self) -> Iterator[int]:
        """Those of the parts."""
        for part in self._parts:
            yield from part.leaves()


class Every(_Several):
    """All parts: the least of them."""

    __slots__ = ()

    def value(self, true: int, unknown: int) -> int:
        """The least value."""
        return min(part.value(true, unknown) for part in self._parts)

    def margin(self, gauge: Callable[[int], float]) -> float:
        """The least margin."""
        return min(part.margin(gauge) for part in self._parts)


class Either(_Several):
    """Any part: the greatest of them."""

    __slots__ = ()

    def value(self, true: int, unknown: int) -> int:
        """The greatest value."""
        return max(part.value(true, unknown) for part in self._parts)

    def margin(self, gauge: Callable[[int], float]) -> float:
        """The greatest margin."""
        return max(part.margin(gauge) for part in self._parts)


class Negation:
    """The opposite of its part."""

    __slots__ = ("_part",)

    def __init__(self, part: Expression) -> None:
        self._part = part

    def value(self, true: int, unknown: int) -> int:
        """The opposite; UNKNOWN stays UNKNOWN: an outage is no proof of absence."""
        return -self._part.value(true, unknown)

    def margin(self, gauge: Callable[[int], float]) -> float:
        """The opposite margin."""
        return -self._part.margin(gauge)

    def positive(self) -> Iterator[int]:
        """None: what is negated does not speak for the condition."""
        return iter(())

    def leaves(self) -> Iterator[int]:
        """Those of the part."""
        return self._part.leaves()
