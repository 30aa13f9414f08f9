"""The committed figures of the monitoring benchmark: Prometheus noticed the overload, and its page is made from them."""

import json
from typing import Any

import pytest

from benchmarks.provenance import RESULTS
from benchmarks.serving.monitoring import dashboard_queries
from benchmarks.serving.monitoring_report import page, times


@pytest.fixture
def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / "monitoring.json").read_text())
    return found


def test_the_page_is_that_of_the_figures(results: dict[str, Any]) -> None:
    assert (RESULTS / "monitoring.md").read_text() == page(results)


def test_the_alert_fired_after_ten_minutes_of_overload_and_ended_after_it(results: dict[str, Any]) -> None:
    pending, firing = times(results["series"]["pending"]), times(results["series"]["firing"])
    assert 585 <= firing[0] - pending[0] <= 630, "ten minutes, and at most two evaluations more"
    assert firing[0] <= results["stopped"] < firing[-1]
    assert firing[-1] < results["series"]["refused"][-1][0], "the alert was watched until it ended"


def test_prometheus_answered_the_queries_of_the_dashboard(results: dict[str, Any]) -> None:
    assert set(results["panels"]) == set(dashboard_queries())
    invalid = 'sum by (reason) (rate(denoise_input_rejections_total{job="n3denoise"}[1m]))'
    gpu = 'denoise_gpu_memory_reserved_bytes{job="n3denoise"} > 0'
    assert {query for query, count in results["panels"].items() if not count} == {invalid, gpu}, "of neither there was any"
