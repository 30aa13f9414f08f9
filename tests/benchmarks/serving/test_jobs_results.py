"""What the committed measurement of background jobs shows."""

import itertools
import json
from typing import Any

import pytest

from benchmarks.provenance import RESULTS
from benchmarks.serving.jobs_report import CLIENTS, JOBS_EACH, page


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((RESULTS / "jobs.json").read_text())
    return loaded


def test_the_page_is_that_of_the_figures(results: dict[str, Any]) -> None:
    assert (RESULTS / "jobs.md").read_text() == page(results)


def test_a_large_job_moves_every_second_and_knows_how_long_it_takes(results: dict[str, Any]) -> None:
    least, most = results["large"]["eta_ratios"]
    assert results["large"]["longest_pause"] < 1
    assert 1 / 1.5 < least <= most < 1.5


def test_a_canceled_job_frees_memory_and_the_queue(results: dict[str, Any]) -> None:
    memory = results["large"]["memory_kib"]
    assert results["large"]["canceled_seconds"] < 1
    assert memory["after"] < memory["during"] - 100_000
    assert memory["after"] < memory["before"] + 50_000


def test_every_job_of_many_clients_has_one_final_state(results: dict[str, Any]) -> None:
    for row in results["clients"]:
        assert sum(row["states"].values()) == row["jobs"] == len(row["memory_kib"]["after each round"]) * CLIENTS * JOBS_EACH
        assert set(row["states"]) <= {"succeeded", "canceled"}
        assert row["results"] == row["states"]["succeeded"] - row["canceled_too_late"]
        assert row["exits"] == [0]
        assert row["left_bytes"] == 0


def test_no_round_leaves_memory_behind(results: dict[str, Any]) -> None:
    for row in results["clients"]:
        rounds = row["memory_kib"]["after each round"]
        assert max(max(each) for each in rounds) < row["memory_kib"]["warm"] + 100_000
        for before, after in itertools.pairwise(rounds):
            assert max(after) < max(before) + 20_000
