"""Advisory locks by name: the server knows them by 64 bits, within one database."""

from hashlib import blake2b

STRIPES = (
    256  # locks on keys that one transaction may hold, at most: the server's lock table is finite
)


def lock_number(schema: str, name: str) -> int:
    """The lock of a name in a schema."""
    return int.from_bytes(_digest(f"vantage/{schema}/{name}"), signed=True)


def stripe(place: str) -> int:
    """Which of the `STRIPES` a place falls into."""
    return int.from_bytes(_digest(place)) % STRIPES


def _digest(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=8).digest()
