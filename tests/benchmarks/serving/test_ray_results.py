"""The committed measurements on Ray support what the documents say, and their pages agree with them."""

import json
from itertools import groupby
from typing import Any

import pytest

from benchmarks.provenance import RESULTS
from benchmarks.serving import ray_report


@pytest.fixture(scope="module")
def served() -> dict[str, Any]:
    results: dict[str, Any] = json.loads((RESULTS / "ray.json").read_text())
    return results


@pytest.fixture(scope="module")
def batch() -> dict[str, Any]:
    results: dict[str, Any] = json.loads((RESULTS / "ray-batch.json").read_text())
    return results


def test_the_pages_are_those_of_the_figures(served: dict[str, Any], batch: dict[str, Any]) -> None:
    assert (RESULTS / "ray.md").read_text() == ray_report.page(served)
    assert (RESULTS / "ray-batch.md").read_text() == ray_report.batch_page(batch)


@pytest.mark.parametrize("what", ["killed", "updated"])
def test_every_request_was_answered_or_told_when_to_try_again(served: dict[str, Any], what: str) -> None:
    figures = served[what]
    assert sum(figures["statuses"].values()) == figures["requests"]
    assert figures["statuses"].keys() <= {"200", "429", "503"}
    assert figures["without_retry_after"] == figures["unexpected"] == 0
    assert figures["settled_after"] < served["seconds"] / 3
    assert figures["goodput_after"] > figures["goodput_before"] / 2


def test_replicas_were_added_and_removed(served: dict[str, Any]) -> None:
    scaled = served["scaled"]
    steps = [count for count, _ in groupby(count for _, count, _ in scaled["series"])]
    assert max(steps) == served["replicas"] == 3
    assert steps[0] == steps[-1] == 1
    assert scaled["statuses"].keys() <= {"200", "429", "503"}


def test_a_batch_that_was_killed_lost_nothing_and_repeated_nothing(batch: dict[str, Any]) -> None:
    assert batch["pictures"] == batch["after"] == 200
    assert 0 < batch["before"] < batch["pictures"]
    assert batch["skipped"] >= batch["before"]
    assert batch["computed_twice"] == batch["missing"] == batch["different"] == 0
