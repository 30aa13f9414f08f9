"""Training for a few minutes on a GPU: a probe chooses the batch and whether to compile, and the run can be resumed."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.gpu.time_limit import OutOfTime, time_limit
from models.atomic_write import atomic_write
from models.inference.device import choose_device
from models.training.image_set import ImageSet
from models.training.recipe import Recipe
from models.training.run import TrainingOptions, TrainingResult, train
from models.training.scalars import TrainingProgress
from models.training.trainer import Trainer, fresh_network
from models.weights.files import Weights, load_weights

SETTINGS = "settings.json"
"""The file in the run folder with what the first session chose."""
NEARLY_BEST = 0.8
"""Share of the highest speed that a smaller batch must reach to be preferred: it learns more from the same number of crops."""
RESERVE = 10.0
"""Seconds of a session that are left for its last checkpoint."""


def crops_per_second(trainer: Trainer, seconds: float) -> float:
    """Return the speed of training in some seconds, at least one step, after two steps to warm up."""
    for _ in range(2):
        trainer.step(0.5)
    begin, steps = time.monotonic(), 0
    while not steps or time.monotonic() - begin < seconds:
        trainer.step(0.5)  # reads the loss, so it waits for the device
        steps += 1
    return steps * trainer.recipe.batch / (time.monotonic() - begin)


def probe(
    images: ImageSet, start: Weights, recipe: Recipe, device: torch.device, seconds: float, batches: Sequence[int]
) -> tuple[int, bool]:
    """Choose the batch and whether to compile the network, in some seconds.

    Half of the time is for batches of increasing size. The rest is for compiling with the chosen batch; if compiling takes
    longer, training does without.
    """

    def trainer(batch: int) -> Trainer:
        network = fresh_network(start.config.build, recipe.seed)
        network.load_state_dict(start.state)
        return Trainer(network, images, replace(recipe, batch=batch), device)

    deadline = time.monotonic() + seconds
    speeds: dict[int, float] = {}
    try:
        with time_limit(seconds / 2):
            for batch in batches:
                speeds[batch] = crops_per_second(trainer(batch), seconds / 4 / len(batches))
                print(f"probe: batch {batch}: {speeds[batch]:.0f} crops/s", flush=True)
    except (OutOfTime, torch.OutOfMemoryError) as end:
        print(f"probe: no larger batch ({type(end).__name__})", flush=True)
    batch = min((batch for batch in speeds if speeds[batch] >= NEARLY_BEST * max(speeds.values())), default=batches[0])
    compiled = 0.0
    try:
        with time_limit(deadline - time.monotonic()):
            candidate = trainer(batch)
            candidate.compile()
            compiled = crops_per_second(candidate, 1.0)
            print(f"probe: batch {batch}, compiled: {compiled:.0f} crops/s", flush=True)
    except (OutOfTime, Exception) as end:  # training works without compiling
        print(f"probe: batch {batch}, compiled: {type(end).__name__} {str(end)[:200]}", flush=True)
    torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return batch, compiled > speeds.get(batch, 0.0)


def train_session(
    images: Path,
    folder: Path,
    *,
    start: str,
    device: str,
    minutes: float,
    probe_seconds: float,
    batches: Sequence[int],
    recipe: Recipe,
) -> TrainingResult:
    """Train for some minutes, all preparations included. The same call resumes an interrupted run.

    The first session probes, sets the length of the schedule to the time that remains, and stores its choices.

    Args:
        images: A packed image set, or a folder of images where Pillow is installed.
        folder: The run folder.
        start: Weights to start from.
        device: The device that computes.
        minutes: Time of this session.
        probe_seconds: Time of the probe.
        batches: Batches to choose from, in increasing order.
        recipe: The configuration, apart from the batch.
    """
    end = time.monotonic() + 60 * minutes - RESERVE
    weights, settings = load_weights(start), folder / SETTINGS
    if not settings.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        image_set = ImageSet.read([images], weights.config.channels)
        batch, compiled = probe(image_set, weights, recipe, choose_device(device)[0], probe_seconds, batches)
        chosen = {"batch": batch, "compiled": compiled, "minutes": max(1.0, end - time.monotonic()) / 60}
        with atomic_write(settings) as part:
            part.write_text(json.dumps(chosen))
    chosen = json.loads(settings.read_text())
    print(f"settings: {chosen}", flush=True)
    options = TrainingOptions(
        max_minutes=chosen["minutes"], device=device, compiled=chosen["compiled"], checkpoint_minutes=1.0, log_steps=50
    )
    return train(
        [images],
        folder,
        replace(recipe, batch=chosen["batch"]),
        options,
        start=weights,
        report=_report,
        stop=lambda: time.monotonic() >= end,
    )


def _report(at: TrainingProgress) -> None:
    print(
        f"step {at.step}, {at.seconds:.0f} s, {100 * at.done:.0f} %, loss {at.loss:.3f}, {at.crops_per_second:.0f} crops/s, "
        f"{at.skipped} skipped",
        flush=True,
    )
