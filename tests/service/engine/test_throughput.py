"""The measured throughput follows the recent strips."""

import pytest

from service.engine.throughput import Throughput


def test_throughput_follows_the_recent_strips() -> None:
    throughput = Throughput()
    assert throughput.seconds_for(1000) == 0
    for _ in range(100):
        throughput.add(1000, 1)
    for _ in range(300):
        throughput.add(3000, 1)
    assert throughput.pixels_per_second == pytest.approx(3000, rel=0.01)
    assert throughput.seconds_for(6000) == pytest.approx(2, rel=0.01)
