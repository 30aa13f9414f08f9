"""The tree of errors is closed, is drawn correctly, and is fully documented."""

import re

import pytest

from service import errors
from service.errors import QueueFull, ServiceError, leaves
from tests.support.paths import ROOT


def drawn() -> list[tuple[str, int]]:
    return [(name, int(status)) for name, status in re.findall(r"── (\w+) +(\d{3})", errors.__doc__ or "")]


def test_the_drawing_shows_every_error_with_its_status() -> None:
    assert sorted(drawn()) == sorted((leaf.__name__, leaf.status) for leaf in leaves())


def test_codes_are_unique_and_outcomes_are_known() -> None:
    codes = [leaf.code for leaf in leaves()]
    assert len(set(codes)) == len(codes)
    outcomes = {"client_error", "rejected", "timeout", "cancelled", "device_error", "internal"}
    assert {leaf.outcome for leaf in leaves()} == outcomes


@pytest.mark.parametrize("leaf", leaves())
def test_every_error_is_in_the_documentation(leaf: type[ServiceError]) -> None:
    assert f"`{leaf.code}`" in (ROOT / "docs" / "api.md").read_text()


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.2, "2"), (59.5, "60")])
def test_retry_after_is_rounded_up_to_whole_seconds(seconds: float, header: str) -> None:
    assert QueueFull(retry_after=seconds).headers == {"retry-after": header}
