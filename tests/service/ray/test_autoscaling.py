"""How many replicas the waiting work needs."""

from types import SimpleNamespace

import pytest

from service.ray.autoscaling import WAITING_SECONDS, WaitingWork


@pytest.mark.parametrize(
    ("waiting", "wanted"),
    [({"a": 0.0}, 1), ({"a": 10.0}, 1), ({"a": 10.1}, 2), ({"a": 25.0, "b": 14.0, "c": 0.0}, 4), ({}, 2)],
)
def test_each_replica_gets_the_target_of_waiting_work(waiting: dict[str, float], wanted: int) -> None:
    context = SimpleNamespace(aggregated_metrics={WAITING_SECONDS: waiting}, target_num_replicas=2)
    assert WaitingWork(target_seconds=10)(context) == (wanted, {})


def test_without_reports_nothing_changes() -> None:
    assert WaitingWork(target_seconds=10)(SimpleNamespace(aggregated_metrics=None, target_num_replicas=3)) == (3, {})
