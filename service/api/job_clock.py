"""How far background jobs are, and how long they will take."""

import math
import time
from datetime import timedelta

from service.engine.engine import Engine
from service.engine.ticket import Ticket
from service.jobs.state import JobState, now_utc

COMPUTING_SHARE = 0.97
"""Share of the device's computation in the progress of a job; the rest is encoding."""
_FINISH_SECONDS = 5e-8  # for each pixel, before the first job
_FINISH_WEIGHT = 0.2  # of the last job in the average


class JobClock:
    """Estimates the progress and the remaining time of jobs.

    Args:
        engine: The engine that computes the jobs.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._finish_seconds = _FINISH_SECONDS  # from the last strip to the end, for each pixel

    def note_end(self, ticket: Ticket) -> None:
        """Learn from a job that has succeeded how long encoding takes."""
        if ticket.computed_at:
            seconds = (time.monotonic() - ticket.computed_at) / ticket.held
            self._finish_seconds += _FINISH_WEIGHT * (seconds - self._finish_seconds)

    def present(self, state: JobState, ticket: Ticket) -> JobState:
        """Return the present state of a job that has not ended, given an earlier one."""
        run, finish = ticket.run, ticket.held * self._finish_seconds
        fraction = COMPUTING_SHARE * run.fraction if run and not run.estimates else 0.0
        if state.progress and run is None and ticket.computed_at:  # the result is being encoded
            elapsed = time.monotonic() - ticket.computed_at
            fraction = 1 - (1 - COMPUTING_SHARE) * math.exp(-elapsed / finish)
            finish = max(finish - elapsed, 0.1 * finish)
        started_at = state.started_at
        if ticket.begun_at and not started_at:
            started_at = now_utc() - timedelta(seconds=time.monotonic() - ticket.begun_at)
        changes = {
            "status": "running" if ticket.begun_at else "queued",
            "progress": max(state.progress, round(fraction, 4)),  # it falls if the device ran out of memory and starts again
            "eta_seconds": round(self._engine.seconds_left(ticket) + finish, 1),
            "started_at": started_at,
        }
        unchanged = all(getattr(state, name) == value for name, value in changes.items())
        return state if unchanged else state.changed(**changes)
