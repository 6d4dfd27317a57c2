"""Which partition a key belongs to: the same on every adapter, and the same as Kafka's default partitioner."""

import struct
from functools import lru_cache

_SEED = 0x9747B28C
_MIX = 0x5BD1E995
_WORD = 0xFFFFFFFF


@lru_cache(maxsize=65_536)
def partition_of(key: str | None, count: int) -> int:
    """The partition of `key` among `count`; records without a key go to partition 0."""
    if key is None or count == 1:
        return 0
    return (murmur2(key.encode()) & 0x7FFFFFFF) % count


def murmur2(data: bytes) -> int:
    """MurmurHash2, 32 bit (Austin Appleby, public domain), with the seed that Kafka's clients use."""
    mixed = _SEED ^ len(data)
    whole = len(data) & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        word = word * _MIX & _WORD
        word = (word ^ word >> 24) * _MIX & _WORD
        mixed = (mixed * _MIX & _WORD) ^ word
    if data[whole:]:
        mixed = (mixed ^ int.from_bytes(data[whole:], "little")) * _MIX & _WORD
    mixed = (mixed ^ mixed >> 13) * _MIX & _WORD
    return mixed ^ mixed >> 15
