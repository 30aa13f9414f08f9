"""The estimated progress and time of background jobs, with a clock that the tests set."""

from types import SimpleNamespace
from typing import Any

import pytest

from service.api import job_clock
from service.api.job_clock import COMPUTING_SHARE, JobClock
from service.engine.engine import Engine
from service.engine.ticket import Ticket
from service.imaging.picture import Format
from service.jobs.state import JobState, now_utc
from service.telemetry.metrics import Metrics
from tests.support.live import settings_for

LARGE, SMALL = 10_000_000, 500_000
DEVICE_SECONDS = 7.0


class Busy(Engine):
    """An engine whose device always takes the same time for what is ahead."""

    def seconds_left(self, ticket: Ticket) -> float:  # noqa: ARG002
        return DEVICE_SECONDS


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The present time in seconds."""
    present = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(job_clock, "time", SimpleNamespace(monotonic=lambda: present.seconds))
    return present


@pytest.fixture
def clock(tmp_path_factory: pytest.TempPathFactory) -> JobClock:
    return JobClock(Busy(settings_for(tmp_path_factory.mktemp("weights")), Metrics()))


def ticket(held: int, **changes: Any) -> Ticket:
    return Ticket(pixels=held, deadline=0.0, held=held, begin_seconds=0.0, give_back=lambda _: None, **changes)


def state(progress: float = 0.0) -> JobState:
    return JobState(id="a" * 16, owner="anyone", fingerprint="f", created_at=now_utc(), progress=progress)


def encoding(clock: JobClock, held: int, file_format: Format) -> float:
    """Return the seconds that the clock adds to those of the device."""
    eta = clock.present(state(), ticket(held), file_format).eta_seconds
    assert eta is not None
    return eta - DEVICE_SECONDS


def test_it_learns_how_long_each_format_takes_to_encode(clock: JobClock, now: SimpleNamespace) -> None:
    png = encoding(clock, LARGE, "png")
    for seconds in (30, 10):
        clock.note_end(ticket(LARGE, computed_at=now.seconds - seconds), "avif")
    assert encoding(clock, LARGE, "avif") == pytest.approx(20, abs=0.05)
    assert encoding(clock, 2 * LARGE, "avif") == pytest.approx(40, abs=0.05)
    assert encoding(clock, LARGE, "png") == png


def test_small_pictures_teach_nothing(clock: JobClock, now: SimpleNamespace) -> None:
    before = encoding(clock, LARGE, "png")
    for _ in range(100):
        clock.note_end(ticket(SMALL, computed_at=now.seconds - 1), "png")
    assert encoding(clock, LARGE, "png") == before


def test_while_a_result_is_encoded_the_work_of_others_does_not_count(clock: JobClock, now: SimpleNamespace) -> None:
    clock.note_end(ticket(LARGE, computed_at=now.seconds - 4), "png")
    place, present = ticket(LARGE, begun_at=now.seconds, computed_at=now.seconds), state(COMPUTING_SHARE)
    for left in (4.0, 3.0, 2.0, 1.0):
        following = clock.present(present, place, "png")
        assert following.eta_seconds == pytest.approx(left)
        assert present.progress <= following.progress < 1
        present = following
        now.seconds += 1
    now.seconds += 10
    assert clock.present(present, place, "png").eta_seconds == pytest.approx(0.4), "longer than expected"
