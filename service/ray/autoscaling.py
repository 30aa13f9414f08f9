"""How many replicas the waiting work needs. Ray Serve runs this in its controller, so the module imports little."""

import math
from typing import Any

WAITING_SECONDS = "waiting_seconds"
"""The metric that every replica reports: seconds of work that it has admitted and not yet computed."""


class WaitingWork:
    """An autoscaling policy: so many replicas that each has the target of waiting work.

    Ray Serve calls it several times per second, with the mean of each replica's reports over the last seconds, and applies its
    bounds and delays to the result.
    """

    def __init__(self, target_seconds: float) -> None:
        """Aim at this many seconds of waiting work for each replica."""
        self._target = target_seconds

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """Return the number of replicas, and the state for the next call, which is empty."""
        reports = (context.aggregated_metrics or {}).get(WAITING_SECONDS, {})
        if not reports:
            return context.target_num_replicas, {}
        return max(1, math.ceil(sum(reports.values()) / self._target)), {}
