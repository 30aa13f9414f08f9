"""The committed measurements on Ray support what the documents say, and their page agrees with them."""

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


def test_the_page_is_that_of_the_figures(served: dict[str, Any]) -> None:
    assert (RESULTS / "ray.md").read_text() == ray_report.page(served)


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
