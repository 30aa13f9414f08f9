"""The metrics of a replica, handed to Ray, which exports those of all replicas of a node together."""

import asyncio
from typing import Any

from ray.serve import metrics as serve_metrics

from service.api.context import AppContext

_SECONDS = 5.0
QUEUE_SECONDS = "denoise_queue_seconds"


class Exported:
    """The gauges and counters of a replica, as Ray knows them.

    Ray adds the prefix `ray_` to their names, and labels for the replica. Histograms stay in the replica: Ray takes single
    observations and not counts.
    """

    def __init__(self, context: AppContext) -> None:
        """Export nothing yet."""
        self._context = context
        self._exported: dict[str, Any] = {}
        self._counted: dict[tuple[str, ...], float] = {}
        self._queue_seconds = serve_metrics.Gauge(
            QUEUE_SECONDS, "Seconds that the device will take for the work that is admitted and not yet computed."
        )

    def update(self) -> None:
        """Hand the present values to Ray."""
        self._queue_seconds.set(self._context.engine.backlog_seconds(), {})
        for family in self._context.metrics.registry.collect():
            if family.name.startswith("denoise_") and family.type in ("gauge", "counter"):
                for sample in family.samples:
                    if not sample.name.endswith("_created"):
                        self._hand_over(family.type, family.name, family.documentation, sample.labels, sample.value)

    def _hand_over(self, kind: str, name: str, text: str, labels: dict[str, str], value: float) -> None:
        if name not in self._exported:
            kinds = {"gauge": serve_metrics.Gauge, "counter": serve_metrics.Counter}
            self._exported[name] = kinds[kind](name, text, tuple(labels))
        if kind == "gauge":
            self._exported[name].set(value, dict(labels))
            return
        key = (name, *labels.values())
        if added := value - self._counted.get(key, 0.0):  # Ray counts what is added, and refuses to add nothing
            self._exported[name].inc(added, dict(labels))
            self._counted[key] = value


async def export(context: AppContext) -> None:
    """Hand the metrics to Ray every few seconds, until canceled."""
    exported = Exported(context)
    while True:
        exported.update()
        await asyncio.sleep(_SECONDS)
