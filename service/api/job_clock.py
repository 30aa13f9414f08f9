"""How far background jobs are, and how long they will take."""

import math
import time
from collections import Counter
from datetime import timedelta

from service.api.context import SMALL_PIXELS
from service.engine.engine import Engine
from service.engine.ticket import Ticket
from service.imaging.picture import Format
from service.jobs.state import JobState, now_utc

COMPUTING_SHARE = 0.97
"""Share of the device's computation in the progress of a job; the rest is encoding."""
_FINISH_SECONDS: dict[Format, float] = {"png": 8e-8, "jpeg": 5e-8, "webp": 3e-7, "avif": 2e-7, "tiff": 5e-8, "bmp": 4e-8}
"""Seconds from the last strip to the end of a job, for each pixel: about those of a core of an AMD EPYC, until a job ends."""
_FINISH_WEIGHT = 0.2  # of the last job in the average, at least


class JobClock:
    """Estimates the progress and the remaining time of jobs.

    Args:
        engine: The engine that computes the jobs.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._finish_seconds = dict(_FINISH_SECONDS)
        self._finished: Counter[Format] = Counter()

    def note_end(self, ticket: Ticket, file_format: Format) -> None:
        """Learn from a job that has succeeded how long encoding takes, which depends on the format.

        Small pictures teach nothing, because most of their time does not depend on their size.
        """
        if ticket.computed_at and ticket.held >= SMALL_PIXELS:
            seconds = (time.monotonic() - ticket.computed_at) / ticket.held
            self._finished[file_format] += 1
            weight = max(_FINISH_WEIGHT, 1 / self._finished[file_format])
            self._finish_seconds[file_format] += weight * (seconds - self._finish_seconds[file_format])

    def present(self, state: JobState, ticket: Ticket, file_format: Format) -> JobState:
        """Return the present state of a job that has not ended, given an earlier one and the format of its file."""
        run, finish = ticket.run, ticket.held * self._finish_seconds[file_format]
        if state.progress and run is None and ticket.computed_at:  # the result is being encoded
            elapsed = time.monotonic() - ticket.computed_at
            fraction = 1 - (1 - COMPUTING_SHARE) * math.exp(-elapsed / finish)
            left = max(finish - elapsed, 0.1 * finish)
        else:
            fraction = COMPUTING_SHARE * run.fraction if run and not run.estimates else 0.0
            left = self._engine.seconds_left(ticket) + finish
        started_at = state.started_at
        if ticket.begun_at and not started_at:
            started_at = now_utc() - timedelta(seconds=time.monotonic() - ticket.begun_at)
        changes = {
            "status": "running" if ticket.begun_at else "queued",
            "progress": max(state.progress, round(fraction, 4)),  # it falls if the device ran out of memory and starts again
            "eta_seconds": round(left, 1),
            "started_at": started_at,
        }
        unchanged = all(getattr(state, name) == value for name, value in changes.items())
        return state if unchanged else state.changed(**changes)
