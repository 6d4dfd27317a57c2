"""Keys go where Kafka's own clients would put them."""

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.partitions import murmur2, partition_of


# From the tests of Apache Kafka's Java client (UtilsTest.testMurmur2), as signed 32-bit numbers.
@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_that_of_the_java_client(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed & 0xFFFFFFFF


@given(st.text(min_size=0, max_size=40), st.integers(1, 64))
def test_partitions_are_those_of_aiokafka(key: str, count: int) -> None:
    everything = list(range(count))
    assert partition_of(key, count) == DefaultPartitioner()(key.encode(), everything, everything)


def test_records_without_a_key_share_a_partition() -> None:
    assert partition_of(None, 8) == 0
