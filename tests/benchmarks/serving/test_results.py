"""The committed measurements support what the documents say about the service, and their pages agree with them."""

import json
from typing import Any

import numpy as np
import pytest

from benchmarks.provenance import RESULTS
from benchmarks.serving import endurance as endurance_report
from benchmarks.serving import load_report


@pytest.fixture(scope="module")
def load() -> dict[str, Any]:
    results: dict[str, Any] = json.loads((RESULTS / "load.json").read_text())
    return results


@pytest.fixture(scope="module")
def endurance() -> dict[str, Any]:
    results: dict[str, Any] = json.loads((RESULTS / "endurance.json").read_text())
    return results


def test_the_pages_are_those_of_the_figures(load: dict[str, Any], endurance: dict[str, Any]) -> None:
    assert (RESULTS / "load.md").read_text() == load_report.page(load)
    assert (RESULTS / "endurance.md").read_text() == endurance_report.page(endurance)


def test_load_was_measured_from_half_to_three_times_the_capacity(load: dict[str, Any]) -> None:
    for server in ("service", "plain"):
        assert [row["load"] for row in load[server]] == [0.5, 0.8, 1.0, 1.5, 3.0]


def test_no_answer_came_late(load: dict[str, Any]) -> None:
    for row in load["service"]:
        assert row["late"] == 0
        assert row["longest"] < load["timeout_seconds"]
        assert sum(row["statuses"].values()) == row["requests"]
        assert row["statuses"].keys() <= {"200", "429"}


def test_every_retry_after_was_right_within_a_factor_of_two(load: dict[str, Any]) -> None:
    ratios = np.array([ratio for row in load["service"] for ratio in row["retry_after"]])
    assert len(ratios) > 30
    assert ratios.min() >= 0.5
    assert ratios.max() <= 2


def test_health_answered_and_the_event_loop_was_free_under_all_loads(load: dict[str, Any]) -> None:
    assert all(row["livez_p99"] < 0.1 for row in load["service"])
    assert load["service"][-1]["loop_lag_p99"] < 0.02


def test_goodput_under_three_times_the_capacity_is_nine_tenths_of_the_peak(load: dict[str, Any]) -> None:
    goodput = [row["goodput"] for row in load["service"]]
    assert goodput[-1] >= 0.9 * max(goodput)


def test_little_time_went_outside_inference(load: dict[str, Any]) -> None:
    assert 0 < load["overhead"]["share_outside_inference"] < 0.10


def test_a_small_image_waits_for_three_strips_at_most(load: dict[str, Any]) -> None:
    fair = load["fairness"]
    assert fair["behind_large_p95"] < 3 * fair["strip"] + fair["alone_p95"]


def test_a_small_image_overtakes_large_ones_sooner_than_with_a_plain_server(load: dict[str, Any]) -> None:
    assert load["fairness"]["behind_large_p95"] < load["plain_fairness"]["behind_large_p95"]


def test_nothing_was_left_of_clients_that_disconnected(load: dict[str, Any]) -> None:
    gone = load["disconnects"]
    assert gone["left"] == 0
    assert gone["strips_computed"] <= 50


def test_no_request_was_lost_in_twenty_terminations(endurance: dict[str, Any]) -> None:
    rows = endurance["terminations"]["rows"]
    assert len(rows) >= 20
    assert {row["exit"] for row in rows} == {0}
    assert all(row["seen_not_ready"] for row in rows)
    assert {name for row in rows for name in row["outcomes"]} <= {"200", "503", "refused"}
    assert all(row["outcomes"]["200"] and row["outcomes"]["503"] for row in rows)


def test_a_hundred_thousand_bad_requests_did_no_harm(endurance: dict[str, Any]) -> None:
    bad = endurance["bad"]
    assert sum(bad["statuses"].values()) >= 100_000
    assert all(int(status) < 500 for status in bad["statuses"])
    assert bad["alive"] == 200
    assert bad["memory_kib"][-1][0] >= 100_000


def test_memory_threads_and_files_stayed_what_they_were_through_the_soak(endurance: dict[str, Any]) -> None:
    soak = endurance["soak"]
    _, resident, *counts = next(row for row in soak["rows"] if row[0] >= 1_500)
    requests, resident_after, *counts_after = soak["rows"][-1]
    assert requests >= 4_500
    assert abs(soak["slope_kib"]) < 2 * soak["slope_error_kib"]
    assert resident_after - resident < 1024  # KiB, of 3,000 requests
    assert counts_after == counts
