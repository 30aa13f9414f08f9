"""The pace forgets."""

import pytest

from service.engine.throughput import Pace


def test_pace_learns_the_rate_of_the_recent_strips() -> None:
    pace = Pace()
    assert pace.seconds(1000) == 0
    for _ in range(100):
        pace.note(1000, 1)
    for _ in range(300):
        pace.note(3000, 1)
    assert pace.pixels_per_second == pytest.approx(3000, rel=0.01)
    assert pace.seconds(6000) == pytest.approx(2, rel=0.01)
