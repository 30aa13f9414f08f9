"""The measured throughput follows the recent strips, and small planes cannot spoil it."""

import pytest

from service.engine.throughput import USUAL_PIXELS, Throughput


def test_throughput_follows_the_recent_strips() -> None:
    throughput = Throughput()
    assert throughput.seconds_for(1000) == 0
    for _ in range(100):
        throughput.add(1000, 1)
    for _ in range(300):
        throughput.add(3000, 1)
    assert throughput.pixels_per_second == pytest.approx(3000, rel=0.01)
    assert throughput.seconds_for(6000) == pytest.approx(2, rel=0.01)


def usual(rate: float) -> Throughput:
    throughput = Throughput()
    throughput.start_again(USUAL_PIXELS, USUAL_PIXELS / rate)
    return throughput


def test_small_planes_measure_the_fixed_time_of_a_pass() -> None:
    throughput = usual(100_000)
    for _ in range(1000):  # 5 parts, which take a fixed time of 2 ms each
        throughput.add(80, 80 / 100_000 + 0.002, pass_pixels=400)
    assert throughput.pixels_per_second == throughput.best == pytest.approx(100_000)
    assert throughput.pass_seconds == pytest.approx(0.01)
    assert throughput.seconds_for(1e6, passes=3) == pytest.approx(10.03)


def test_the_fixed_time_is_never_negative() -> None:
    throughput = usual(100_000)
    throughput.add(400, 0.0, pass_pixels=400)
    assert throughput.pass_seconds == 0


def test_the_best_rate_stays_when_the_device_slows_down() -> None:
    assert not usual(100_000).doubtful
    throughput = usual(100_000)
    throughput.add(1e6, 40)
    assert throughput.doubtful
    assert throughput.best == pytest.approx(100_000)
    assert throughput.least_seconds_for(1e6) == pytest.approx(10)
    throughput.start_again(USUAL_PIXELS, USUAL_PIXELS / 120_000)
    assert throughput.pixels_per_second == throughput.best == pytest.approx(120_000)


def test_a_few_pixels_prove_no_best_rate() -> None:
    throughput = Throughput()
    throughput.add(1000, 1e-6)
    assert throughput.best is None
    assert throughput.least_seconds_for(1e9) == 0


def test_the_cost_compares_the_times_of_two_models() -> None:
    slow, fast = usual(100_000), usual(400_000)
    assert slow.cost(1e6, 1, of=slow) == 1
    assert fast.cost(1e6, 1, of=slow) == pytest.approx(0.25)
    for _ in range(1000):
        fast.add(400, 400 / 400_000 + 0.1, pass_pixels=400)
    pixels = 4000  # 10 ms and 2 passes of 100 ms
    assert slow.seconds_for(pixels * fast.cost(pixels, 2, of=slow)) == pytest.approx(0.21)
    assert Throughput().cost(1e6, 1, of=slow) == 1


def test_the_rate_of_another_model_is_assumed_before_the_first_measurement() -> None:
    throughput = Throughput(assumed=usual(100_000))
    assert throughput.seconds_for(1e6) == pytest.approx(10)
    assert throughput.cost(1e6, 1, of=usual(100_000)) == 1
    assert throughput.best is None
    throughput.add(1e6, 1)
    assert throughput.seconds_for(1e6) == pytest.approx(1)


def test_one_small_plane_that_hung_counts_little() -> None:
    throughput = usual(100_000)
    throughput.add(400, 60, pass_pixels=400)
    assert throughput.pass_seconds < 1.5
