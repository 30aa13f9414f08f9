"""The gain from neighbors in a denoiser: convolutions alone, with a non-local block, and with an N3 block, on a small budget."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from models.images.color import to_gray8
from models.images.metrics import psnr
from models.images.noise import add_noise
from models.neighbors.non_local import NonLocalBlock
from models.networks.n3net import DnCNN, N3Net, N3NetConfig
from models.training.image_set import ImageSet
from models.training.recipe import Recipe
from models.training.trainer import Trainer, fresh_network
from studies.report import Options, Report, panel, spread

SIGMA = 25.0
CONFIG = N3NetConfig(sigma_plane=False, features=24, depth=5, embedding=24, blocks=1)
SEEDS = (0, 1, 2)
LEARNED_ON = ("coffee", "chelsea", "rocket", "grass", "gravel")  # and scikit-learn's two photographs
TESTED_ON = ("camera", "astronaut", "brick", "coins")
SIDE = 160  # side of the test images, cut from the centers, in pixels
PART = 100  # side of the part that is shown, in pixels


class NonLocalNet(N3Net):
    """An N3Net with a non-local block in place of the N3 block, which has as many output planes as input planes."""

    def __init__(self, config: N3NetConfig) -> None:
        super().__init__(replace(config, blocks=0))
        first = DnCNN(1, config.planes, config.features, config.depth, residual=1)
        self.dncnns = nn.ModuleList([first, DnCNN(config.planes, 1, config.features, config.depth)])
        self.blocks = nn.ModuleList([NonLocalBlock(config.planes, config.planes, subsample=2)])


@dataclass(frozen=True)
class Candidate:
    """A row of the table: the name of a network, and the function that builds it."""

    name: str
    build: Callable[[], N3Net]


CANDIDATES = (
    Candidate("DnCNN, 10 convolutions", lambda: N3Net(replace(CONFIG, blocks=0, depth=2 * CONFIG.depth))),
    Candidate("5 + non-local block + 5", lambda: NonLocalNet(CONFIG)),
    Candidate("5 + N3 block + 5", lambda: N3Net(CONFIG)),
)


def run(options: Options) -> None:
    report = Report(options, "non-local.md")
    images = ImageSet.read([options.images]) if options.images else ImageSet([gray(name) for name in LEARNED_ON] + photographs())
    recipe = Recipe(
        crop=64,
        batch=4,
        antithetic=False,
        steps=3 if options.quick else 250,
        sigma_range=(SIGMA, SIGMA),
        optimizer="adamw",
        loss="log_mse",
        ema=0.98,
    )
    seeds = SEEDS[:1] if options.quick else SEEDS
    side = 48 if options.quick else SIDE
    tested = {name: center(gray(name), side) for name in TESTED_ON}
    noisy_row = {name: psnr(add_noise(clean, SIGMA / 255, i), clean) for i, (name, clean) in enumerate(tested.items())}
    rows = [["noisy", "-", f"{sum(noisy_row.values()) / len(tested):.2f}", *(f"{v:.2f}" for v in noisy_row.values())]]
    pictures: dict[str, Tensor] = {}
    for candidate in CANDIDATES:
        results = []
        for seed in seeds:
            network = learn(candidate, images, replace(recipe, seed=seed))
            denoised = {name: denoise(network, clean, i) for i, (name, clean) in enumerate(tested.items())}
            results.append({name: psnr(denoised[name], clean) for name, clean in tested.items()})
            if seed == seeds[0]:
                pictures[candidate.name] = denoised["brick"]
        parameters = f"{sum(p.numel() for p in network.parameters()):,}"
        means = spread([sum(result.values()) / len(result) for result in results])
        each = (spread([result[name] for result in results]) for name in tested)
        rows.append([candidate.name, parameters, means, *each])
    report.table("denoisers", ("PSNR at sigma 25, dB", "parameters", "mean over the images", *TESTED_ON), rows)
    draw(report, tested["brick"], pictures)


def learn(candidate: Candidate, images: ImageSet, recipe: Recipe) -> N3Net:
    """Train one network and return it with the moving average of its weights."""
    network = fresh_network(candidate.build, recipe.seed)
    trainer = Trainer(network, images, recipe, torch.device("cpu"))
    assert recipe.steps is not None
    for step in range(recipe.steps):
        trainer.step(step / recipe.steps)
    network.load_state_dict(trainer.average)
    return network.eval()


@torch.no_grad()
def denoise(network: N3Net, clean: Tensor, seed: int) -> Tensor:
    denoised: Tensor = network(add_noise(clean, SIGMA / 255, seed)[None, None])[0, 0]
    return denoised


def gray(name: str) -> NDArray[np.uint8]:
    """Return one of scikit-image's pictures as 8-bit gray, (H, W)."""
    return to_gray(getattr(skimage.data, name)())


def photographs() -> list[NDArray[np.uint8]]:
    """Return scikit-learn's two photographs as 8-bit gray, (H, W)."""
    return [to_gray(image) for image in load_sample_images().images]


def to_gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image if image.ndim == 2 else to_gray8(image[..., :3])


def center(image: NDArray[np.uint8], side: int) -> Tensor:
    """Return the center of an image, (side, side) in [0, 1]."""
    top, left = ((length - side) // 2 for length in image.shape)
    return torch.from_numpy(image[top : top + side, left : left + side].astype(np.float32) / 255)


def draw(report: Report, clean: Tensor, pictures: dict[str, Tensor]) -> None:
    """Draw a part of the image with the most repetition, denoised by each network."""
    shown = {"clean": clean, "noisy": add_noise(clean, SIGMA / 255, TESTED_ON.index("brick")), **pictures}
    with report.figure("denoisers.png", width=10.0, height=2.6) as figure:
        axes = figure.subplots(1, len(shown))
        for axis, (name, picture) in zip(axes, shown.items(), strict=True):
            title = name if picture is clean else f"{name}\n{psnr(picture, clean):.2f} dB"
            panel(axis, picture[-PART:, -PART:], title, clean.min().item(), clean.max().item())
