"""Training for a few minutes on a GPU: a probe chooses the batch and whether to compile, and the run can be resumed.

`python -m benchmarks.gpu.training WEIGHTS RECIPE DEVICE IMAGES...` prints the crops per second with a compiled network.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

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
SCHEDULE_SHARE = 0.97
"""Share of the time after the probe that the schedule fills. The rest is for reading the images and writing checkpoints."""


def probe(
    images: Sequence[Path], start: str, recipe: Recipe, device: str, seconds: float, batches: Sequence[int]
) -> tuple[int, bool]:
    """Choose the batch and whether to compile the network, in about the given seconds.

    Half of the time is for batches of increasing size. The rest is for compiling with the chosen batch; if compiling takes
    longer, training does without. See `train_session` for the other arguments.
    """
    begin = time.monotonic()
    speeds: dict[int, float] = {}
    for batch in batches:
        if speeds and time.monotonic() - begin > seconds / 2:
            break
        try:
            speeds[batch] = crops_per_second(_trainer_of(images, start, replace(recipe, batch=batch), device), seconds / 16)
        except torch.OutOfMemoryError:
            print(f"probe: batch {batch} does not fit into the memory", flush=True)
            break
        print(f"probe: batch {batch}: {speeds[batch]:.0f} crops/s", flush=True)
    chosen = min(batch for batch in speeds if speeds[batch] >= NEARLY_BEST * max(speeds.values()))
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    remaining = seconds - (time.monotonic() - begin)
    compiled = compiled_crops_per_second(images, start, replace(recipe, batch=chosen), device, remaining)
    return chosen, compiled > speeds[chosen]


def compiled_crops_per_second(images: Sequence[Path], start: str, recipe: Recipe, device: str, seconds: float) -> float:
    """Return the speed of training with a compiled network, or 0 if compiling fails or takes too long.

    This runs in a process of its own, because only a process can be ended safely while it compiles.
    """
    command = [sys.executable, "-m", "benchmarks.gpu.training", start, json.dumps(recipe.asdict()), device, *map(str, images)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(0.0, seconds), check=True)
    except subprocess.TimeoutExpired:
        print("probe: compiling takes too long", flush=True)
        return 0.0
    except subprocess.CalledProcessError as error:
        print(f"probe: compiling failed\n{error.stderr.strip()[-2000:]}", flush=True)
        return 0.0
    speed = float(done.stdout.split()[-1])
    print(f"probe: batch {recipe.batch}, compiled: {speed:.0f} crops/s", flush=True)
    return speed


def crops_per_second(trainer: Trainer, seconds: float) -> float:
    """Return the speed of training in some seconds, at least one step, after two steps to warm up."""
    for _ in range(2):
        trainer.step(0.5)
    begin, steps = time.monotonic(), 0
    while not steps or time.monotonic() - begin < seconds:
        trainer.step(0.5)  # reads the loss, so it waits for the device
        steps += 1
    return steps * trainer.recipe.batch / (time.monotonic() - begin)


def _trainer_of(images: Sequence[Path], start: str, recipe: Recipe, device: str) -> Trainer:
    weights = load_weights(start)
    return continued(weights, ImageSet.read(images, weights.config.channels), recipe, choose_device(device)[0])


def continued(weights: Weights, images: ImageSet, recipe: Recipe, device: torch.device) -> Trainer:
    """Return a trainer whose network starts with weights."""
    network = fresh_network(weights.config.build, recipe.seed)
    network.load_state_dict(weights.state)
    return Trainer(network, images, recipe, device)


def train_session(
    images: Sequence[Path],
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

    The first session probes, sets the length of the schedule to nearly the time that remains, and stores its choices.

    Args:
        images: Packed image sets, or folders of images where Pillow is installed.
        folder: The run folder.
        start: Weights to start from.
        device: The device that computes.
        minutes: Time of this session.
        probe_seconds: Time of the probe.
        batches: Batches to choose from, in increasing order.
        recipe: The configuration, apart from the batch.
    """
    end = time.monotonic() + 60 * minutes - RESERVE
    settings = folder / SETTINGS
    if not settings.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        batch, compiled = probe(images, start, recipe, device, probe_seconds, batches)
        chosen = {"batch": batch, "compiled": compiled, "minutes": SCHEDULE_SHARE * max(1.0, end - time.monotonic()) / 60}
        with atomic_write(settings) as part:
            part.write_text(json.dumps(chosen))
    chosen = json.loads(settings.read_text())
    print(f"settings: {chosen}", flush=True)
    options = TrainingOptions(
        max_minutes=chosen["minutes"], device=device, compiled=chosen["compiled"], checkpoint_minutes=1.0, log_steps=50
    )
    return train(
        images,
        folder,
        replace(recipe, batch=chosen["batch"]),
        options,
        start=load_weights(start),
        report=_report,
        stop=lambda: time.monotonic() >= end,
    )


def _report(at: TrainingProgress) -> None:
    print(
        f"step {at.step}, {at.seconds:.0f} s, {100 * at.done:.0f} %, loss {at.loss:.3f}, {at.crops_per_second:.0f} crops/s, "
        f"{at.skipped} skipped",
        flush=True,
    )


def main() -> None:
    """Measure the speed with a compiled network, as `compiled_crops_per_second` asks for."""
    start, recipe, device, *images = sys.argv[1:]
    trainer = _trainer_of([Path(source) for source in images], start, Recipe.parse(json.loads(recipe)), device)
    trainer.compile()
    print(crops_per_second(trainer, 1.0))


if __name__ == "__main__":
    main()
