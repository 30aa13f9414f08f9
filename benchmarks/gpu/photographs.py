"""Training for photographs on a GPU: both networks learn from the same pictures, which other processes simulate meanwhile.

`python -m benchmarks.gpu.photographs FOLDER IMAGES...` writes noise-level.safetensors and photo.safetensors into FOLDER every
minute. The simulation runs on the processor, so it needs many cores: one core makes about 70 pictures per second.
"""

import argparse
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.training import continued
from models.images.noise_map import CELL, enlarge, measured_map
from models.inference.device import choose_device
from models.networks.noise_level_net import NoiseLevelNet
from models.training.image_set import ImageSet
from models.training.photographs.degradation import TRAINING, degrade, source_side
from models.training.recipe import Recipe
from models.training.run import training_facts
from models.training.sampling import EXACT_SHARE, Batch, draw_sigma
from models.weights.files import load_weights, save_weights

SIDE = 192
"""Side of the simulated pictures in pixels."""
AT_ONCE = 16
"""Pictures that a process simulates before it hands them over."""
POOL = 8192
"""Pictures to draw from. New ones take the place of the oldest."""
ESTIMATOR_SHARE = 0.75
"""Share of the time in which the estimator learns. Then the other network learns from maps of its final form."""
ESTIMATOR, DENOISER = "noise-level", "photo"
"""The two networks, by the names of their weights."""
LOG_STEPS = 50
SAVE_SECONDS = 60.0


def simulate(images: ImageSet, seed: int, pictures: "Queue[Tensor]") -> None:
    """Simulate pictures without end, and put them into a queue, (`AT_ONCE`, 9, `SIDE`, `SIDE`): clean, noisy, and the noise.

    Half precision keeps the error of the stored values below a tenth of a gray level.
    """
    torch.set_num_threads(1)
    recipe, generator = Recipe(batch=AT_ONCE), torch.Generator().manual_seed(seed)
    while True:
        sources = images.crops(AT_ONCE, source_side(SIDE), generator).numpy()
        sigmas = draw_sigma(recipe, AT_ONCE, generator).flatten().tolist()
        rng = np.random.default_rng(int(torch.randint(2**63 - 1, (), generator=generator)))
        made = [degrade(source, SIDE, rng, sigma, variety=TRAINING) for source, sigma in zip(sources, sigmas, strict=True)]
        stacked = np.stack([np.concatenate((each.clean, each.noisy, each.noise)) for each in made])
        pictures.put(torch.from_numpy(stacked).half())


class Pool:
    """The latest simulated pictures, on the device."""

    def __init__(self, device: torch.device, pictures: "Queue[Tensor]") -> None:
        self._pictures = pictures
        self._pool = torch.empty((POOL, 9, SIDE, SIDE), dtype=torch.float16, device=device)
        self._generator = torch.Generator(device).manual_seed(0)
        self._rng = np.random.default_rng(0)  # for what the processor must know, so that it need not wait for the device
        self.received = 0

    def receive(self, least: int) -> None:
        """Take all waiting pictures, and wait until the pool has had at least this many."""
        while self.received < least or not self._pictures.empty():
            start = self.received % POOL
            self._pool[start : start + AT_ONCE] = self._pictures.get().to(self._pool.device)
            self.received += AT_ONCE

    def draw(self, count: int, crop: int, estimator: NoiseLevelNet | None) -> Batch:
        """Draw random crops of random pictures, all with the same random symmetry, and the map that a network is told.

        Args:
            count: Number of crops, B.
            crop: Side of a crop, a multiple of `CELL`.
            estimator: The network whose estimates a part of the crops come with; the others come with the true map.
        """
        device, generator = self._pool.device, self._generator
        which = torch.randint(min(self.received, POOL), (count,), generator=generator, device=device)
        flip_rows, flip_columns, transpose = self._rng.random(3) < 0.5
        pictures = self._pool[which].float()
        pictures = pictures.flip(2) if flip_rows else pictures
        pictures = pictures.flip(3) if flip_columns else pictures
        pictures = (pictures.transpose(2, 3) if transpose else pictures).contiguous()
        clean, noisy, noise = pictures.split(3, 1)
        cells = measured_map(noise)
        if estimator is not None:
            told = torch.rand((count, 1, 1, 1), generator=generator, device=device) < EXACT_SHARE
            with torch.autocast(device.type, torch.bfloat16):
                estimated = estimator.estimate(noisy).float()
            cells = torch.where(told, cells, estimated)
        places = self._rng.integers((SIDE - crop) // CELL + 1, size=2)
        rows, columns = (slice(CELL * int(place), CELL * int(place) + crop) for place in places)
        clean, noisy, noise = (planes[..., rows, columns].contiguous() for planes in (clean, noisy, noise))
        return Batch(clean, noisy, enlarge(cells, rows, columns), noise)


def train_photographs(
    sources: Sequence[Path],
    folder: Path,
    *,
    starts: tuple[str, str],
    recipes: tuple[Recipe, Recipe],
    seconds: float,
    workers: int,
) -> None:
    """Train the estimator and the network that denoises, and write their weights.

    Args:
        sources: Folders of color images or packed image sets.
        folder: Gets the two weights files.
        starts: Weights to start from, of the estimator and of the network that denoises.
        recipes: Their recipes. The crop of the estimator is the whole picture.
        seconds: Time of the whole training.
        workers: Processes that simulate pictures.
    """
    end, begin = time.monotonic() + seconds, time.monotonic()
    images = ImageSet.read(sources, 3)
    context = multiprocessing.get_context("fork")  # before the first use of the GPU; the images are shared
    pictures: Queue[Tensor] = context.Queue(4 * workers)
    processes = [
        context.Process(target=simulate, args=(images, 1000 * recipes[0].seed + number, pictures), daemon=True)
        for number in range(workers)
    ]
    for process in processes:
        process.start()
    device, _ = choose_device("auto")
    weights = [load_weights(start) for start in starts]
    estimating, denoising = (continued(start, images, recipe, device) for start, recipe in zip(weights, recipes, strict=True))
    assert isinstance(estimating.network, NoiseLevelNet)
    used = time.monotonic() - begin
    folder.mkdir(parents=True, exist_ok=True)

    def save() -> None:
        for name, trainer, start in zip((ESTIMATOR, DENOISER), (estimating, denoising), weights, strict=True):
            facts = training_facts(trainer, start, time.monotonic() - begin) | {"pictures": str(pool.received)}
            save_weights(folder / f"{name}.safetensors", start.config, trainer.average, trainer.recipe.sigma_range, facts)

    pool = Pool(device, pictures)
    pool.receive(8 * AT_ONCE)
    saved = time.monotonic()
    losses = np.zeros(2)
    while (now := time.monotonic()) < end:
        progress = (now - begin - used) / (end - begin - used)
        pool.receive(0)
        step = denoising.steps
        if progress < ESTIMATOR_SHARE:
            batch = pool.draw(estimating.recipe.batch, SIDE, None)
            losses[0] += estimating.step(progress / ESTIMATOR_SHARE, batch).loss
        batch = pool.draw(denoising.recipe.batch, denoising.recipe.crop, estimating.network)
        losses[1] += denoising.step(progress, batch).loss
        if (step + 1) % LOG_STEPS == 0:
            print(
                f"step {step + 1}, {now - begin:.0f} s, {pool.received} pictures, estimator {losses[0] / LOG_STEPS:.4f}, "
                f"photo {losses[1] / LOG_STEPS:.4f}, {estimating.skipped + denoising.skipped} skipped",
                flush=True,
            )
            losses[:] = 0
        if now - saved > SAVE_SECONDS:
            save()
            saved = now
    save()
    for process in processes:
        process.terminate()


def main() -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="gets the weights")
    parser.add_argument("images", type=Path, nargs="+", help="folders of color images, or packed image sets (.npz)")
    parser.add_argument("--minutes", type=float, default=9, help="time of the whole command (default: 9)")
    parser.add_argument("--workers", type=int, default=11, help="processes that simulate pictures (default: 11)")
    parser.add_argument("--estimator", default=ESTIMATOR, help="weights from which the estimator starts")
    parser.add_argument("--photo", default=DENOISER, help="weights from which the network that denoises starts")
    parser.add_argument("--batches", type=int, nargs=2, default=(32, 32), metavar=("ESTIMATOR", "PHOTO"))
    parser.add_argument("--rates", type=float, nargs=2, default=(1.5e-3, 1.2e-3), metavar=("ESTIMATOR", "PHOTO"))
    parser.add_argument("--crop", type=int, default=128, help="side of the crops of the network that denoises (default: 128)")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    recipe = Recipe(noise="photographs", freeze_statistics=True, antithetic=False, seed=chosen.seed)
    estimating = replace(recipe, crop=SIDE, batch=chosen.batches[0], learning_rate=chosen.rates[0])
    denoising = replace(recipe, crop=chosen.crop, batch=chosen.batches[1], learning_rate=chosen.rates[1])
    train_photographs(
        chosen.images,
        chosen.folder,
        starts=(chosen.estimator, chosen.photo),
        recipes=(estimating, denoising),
        seconds=60 * chosen.minutes,
        workers=chosen.workers,
    )


if __name__ == "__main__":
    main()
