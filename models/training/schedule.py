"""The schedule of the learning rate."""

import math
from typing import Protocol


class Schedule(Protocol):
    """The part of the configuration of a training run that the learning rate depends on."""

    @property
    def warmup_steps(self) -> int:
        """Number of steps in which the learning rate rises linearly to its peak."""

    @property
    def decay_share(self) -> float:
        """Share of the schedule, at its end, in which the learning rate falls; 0 keeps it constant."""


def rate_factor(recipe: Schedule, step: int, progress: float) -> float:
    """Return the factor, from 0 to 1, on the peak learning rate.

    The factor rises linearly during the warm-up, stays at 1, and falls along half a cosine in the last `recipe.decay_share` of
    the schedule.

    Args:
        recipe: The configuration.
        step: Number of steps done before.
        progress: Share of the schedule that is done; the factor is 0 from 1 on, unless the rate never falls.
    """
    rise = min(1.0, (step + 1) / recipe.warmup_steps) if recipe.warmup_steps else 1.0
    if not recipe.decay_share:
        return rise
    fallen = max(0.0, 1 - (1 - min(progress, 1.0)) / recipe.decay_share)
    return rise * 0.5 * (1 + math.cos(math.pi * fallen))
