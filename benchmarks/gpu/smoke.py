"""A smoke test of inference and training on a device: each check prints a line with PASS or FAIL and its figures."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.gpu.pictures import image_set, picture
from benchmarks.gpu.time_limit import OutOfTime, time_limit
from models.images.noise import add_noise
from models.inference.denoiser import Denoiser
from models.inference.device import DType, choose_device
from models.networks.n3unet import N3UNetConfig
from models.steps import run_through
from models.training.checkpoint import load_checkpoint, save_checkpoint
from models.training.objective import denoising_loss
from models.training.recipe import Recipe
from models.training.sampling import draw_batch
from models.training.trainer import Trainer, fresh_network

SIGMA = 25 / 255
SIZE = (152, 203)
RECIPE = Recipe(crop=48, batch=8, sigma_range=(50, 50), learning_rate=3e-3, warmup_steps=5, steps=30)
HALVES: tuple[DType, ...] = ("float16", "bfloat16")


@dataclass(frozen=True)
class Check:
    """A check: it passes if the figure that `measure` returns is at most `most`."""

    name: str
    measure: Callable[[], float]
    most: float

    def passes(self) -> bool:
        """Measure, print the verdict, and return it. An exception is a failure; the other checks still tell something."""
        start = time.monotonic()
        try:
            figure = self.measure()
        except Exception as error:
            print(f"FAIL  {self.name}: {type(error).__name__}: {error}", flush=True)
            return False
        verdict = "PASS" if figure <= self.most else "FAIL"
        seconds = time.monotonic() - start
        print(f"{verdict}  {self.name}: {figure:.2g} (at most {self.most:g}), {seconds:.1f} s", flush=True)
        return verdict == "PASS"


def smoke(device: str, seconds: float) -> bool:
    """Run all checks within some seconds, and tell whether all passed."""
    torch.backends.cudnn.allow_tf32 = False  # float32 as on the CPU; training in bfloat16 does not change
    checks, passed = list(_checks(device)), 0
    try:
        with time_limit(seconds):
            for check in checks:
                passed += check.passes()
    except OutOfTime:
        print(f"FAIL  out of time after {seconds:g} s")
    print(f"{passed} of {len(checks)} checks passed")
    return passed == len(checks)


def _checks(device: str) -> Iterator[Check]:
    """Yield the checks. Most of the time goes into compiling kernels, so the published network, N3Net, comes last."""
    yield from _inference_checks("n3unet", device)
    yield Check("gradient in float32: largest difference to the CPU, relative", partial(_gradient, device), 1e-2)
    yield Check("training: error after it, as a share of the error before", partial(_training, device), 0.7)
    yield Check("a step after a checkpoint: difference of the loss", partial(_checkpoint, device), 1e-2)
    yield from _inference_checks("n3net", device)


def _inference_checks(network: str, device: str) -> Iterator[Check]:
    for form in ("fused", "plain") if device.startswith("cuda") else ("plain",):
        name = f"{network}, float32, {form} N3 block: largest difference to the CPU"
        yield Check(name, partial(_largest_difference, network, device, form == "fused"), 1e-4)
    for dtype in HALVES:
        name = f"{network}, {dtype}: root mean square of the difference to the CPU"
        yield Check(name, partial(_root_mean_square, network, device, dtype), 3e-3)
    yield Check(f"{network}, strips of 16 rows: largest difference to one strip", partial(_strips, network, device), 1e-5)


def _difference(network: str, device: str, dtype: DType, fused: bool | None = None) -> Tensor:
    noisy = add_noise(picture(*SIZE), SIGMA, 0)
    denoiser = Denoiser.load(network, device=device, dtype=dtype)
    if fused and denoiser.unfused_reason:
        raise RuntimeError(denoiser.unfused_reason)
    denoised = run_through(denoiser.planned_steps(noisy, SIGMA, denoiser.plan(*SIZE, fused=fused)))
    return denoised - Denoiser.load(network, device="cpu", dtype="float32").denoise(noisy, SIGMA)


def _largest_difference(network: str, device: str, fused: bool) -> float:
    return float(_difference(network, device, "float32", fused).abs().max())


def _root_mean_square(network: str, device: str, dtype: DType) -> float:
    return float(_difference(network, device, dtype).square().mean().sqrt())


def _strips(network: str, device: str) -> float:
    noisy = add_noise(picture(*SIZE), SIGMA, 0)
    denoiser = Denoiser.load(network, device=device, dtype="float32")
    plan = denoiser.plan(*SIZE)
    in_strips = run_through(denoiser.planned_steps(noisy, SIGMA, replace(plan, rows=16, side=4)))
    return float((in_strips - run_through(denoiser.planned_steps(noisy, SIGMA, plan))).abs().max())


def _gradient(device: str) -> float:
    images, generator = image_set(), torch.Generator().manual_seed(0)
    batch = draw_batch(RECIPE, images, generator)

    def gradient(where: torch.device) -> Tensor:
        network = fresh_network(N3UNetConfig().build, 0).to(where)
        clean, noisy, sigma = (values.to(where) for values in (batch.clean, batch.noisy, batch.sigma))
        denoising_loss(RECIPE.loss, network(noisy, sigma), clean, sigma).backward()
        return torch.cat([value.grad.flatten().cpu() for value in network.parameters() if value.grad is not None])

    there, here = gradient(choose_device(device)[0]), gradient(torch.device("cpu"))
    return float((there - here).abs().max() / here.abs().max())


def _trainer(device: str) -> Trainer:
    return Trainer(fresh_network(N3UNetConfig().build, 0), image_set(), RECIPE, choose_device(device)[0])


def _training(device: str) -> float:
    """Train from random weights. The loss is the logarithm of an error, so a difference of losses is a ratio of errors."""
    trainer = _trainer(device)
    assert RECIPE.steps is not None
    start = time.monotonic()
    losses = torch.tensor([trainer.step(step / RECIPE.steps).loss for step in range(RECIPE.steps)])
    print(f"      {1e3 * (time.monotonic() - start) / RECIPE.steps:.0f} ms for a step of {RECIPE.batch} crops")
    if trainer.skipped:
        raise RuntimeError(f"{trainer.skipped} steps had a loss or gradient that is not finite")
    return float((losses[-5:].mean() - losses[:5].mean()).exp())


def _checkpoint(device: str) -> float:
    trainer, resumed = _trainer(device), _trainer(device)
    for _ in range(2):
        trainer.step(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        save_checkpoint(path, trainer, N3UNetConfig(), 0)
        load_checkpoint(path, resumed, N3UNetConfig())
    return abs(trainer.step(0).loss - resumed.step(0).loss)
