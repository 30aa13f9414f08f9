"""Do codes cluster better when the soft nearest neighbor loss keeps their classes apart? An autoencoder on digits."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib import colormaps
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import confusion_matrix, normalized_mutual_info_score
from torch import Tensor, nn

from models.neighbors.soft_nearest_neighbor_loss import LearnedTemperature, annealed_temperature, layer_losses
from studies import digits
from studies.digits import Digits
from studies.report import Options, Report, spread

SEEDS = (0, 1, 2)
CODE = 10
WEIGHT = 1.0  # of the loss beside the reconstruction's binary cross-entropy
BATCH = 128
YARDSTICK = 0.1  # the temperature at which all variants are compared
LAYERS = ("hidden 1", "hidden 2", "code", "hidden 4", "hidden 5")


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        name: As it stands there.
        temperature: The loss's temperature by epoch; None: no loss.
        learned: Whether the temperature is learned instead, from 1.
        labeled: Share of the training digits whose labels the loss may see.
    """

    name: str
    temperature: Callable[[int], float] | None = None
    learned: bool = False
    labeled: float = 1.0


VARIANTS = (
    Variant("reconstruction alone"),
    Variant("with the loss, T = 1", lambda _: 1.0),
    Variant("with the loss, falling T", annealed_temperature),
    Variant("with the loss, learned T", lambda _: 1.0, learned=True),
    Variant("falling T, 10% of the labels", annealed_temperature, labeled=0.1),
)


@dataclass
class Run:
    """What one training left: each layer's loss by epoch, the last T, the held-out codes, their and their directions' scores."""

    curves: list[list[float]] = field(default_factory=list)
    temperature: float = 1.0
    codes: Tensor = field(default_factory=lambda: torch.empty(0))
    scores: tuple[float, float] = (0.0, 0.0)
    direction_scores: tuple[float, float] = (0.0, 0.0)


class Autoencoder(nn.Module):
    """Fully connected, mirrored around the code; gives all its layers."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        sizes = (pixels, 128, 64, CODE, 64, 128, pixels)
        self.steps = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (B, 1, S, S) to the five hidden layers and the logits (B, S * S) of the reconstruction."""
        layers = [images.flatten(1)]
        for index, step in enumerate(self.steps):
            out = step(layers[-1])
            linear = index in (2, len(self.steps) - 1)  # neither the code nor the logits are cut at zero
            layers.append(out if linear else out.relu())
        return layers[1:]


def run(options: Options) -> None:
    report = Report(options, "soft-nearest-neighbor-loss.md")
    data = digits.load(options.digits)
    epochs = 3 if options.quick else 60
    seeds = SEEDS[:2] if options.quick else SEEDS
    runs = {variant.name: [train(data, variant, seed, epochs) for seed in seeds] for variant in VARIANTS}
    draw_curves(report, runs)
    draw_codes(report, runs, data.held_labels)
    held = data.held_images.flatten(1)
    pixels = [Run(scores=score(held, data, seed), direction_scores=score(directions(held), data, seed)) for seed in seeds]
    rows = []
    for name, found in ({"no network: pixels": pixels} | runs).items():
        scores = [*zip(*(run.scores for run in found), strict=True), *zip(*(run.direction_scores for run in found), strict=True)]
        temperature = f"{found[0].temperature:.2f}" if "T" in name else "-"
        rows.append([name, *(spread(score, ".3f") for score in scores), temperature])
    report.table("clustering", ("code", "k-means accuracy", "NMI", "accuracy, directions", "NMI, directions", "last T"), rows)
    first = next(iter(runs.values()))[0]
    rows = [["before training", *(f"{curve[0]:.2f}" for curve in first.curves)]]
    rows += [[name, *(f"{curve[-1]:.2f}" for curve in found[0].curves)] for name, found in runs.items()]
    report.table("layers", ("entanglement", *LAYERS), rows)


def train(data: Digits, variant: Variant, seed: int, epochs: int) -> Run:
    """Train one autoencoder and cluster the held-out digits by its code."""
    torch.manual_seed(seed)
    network = Autoencoder(data.side**2)
    learned = LearnedTemperature()
    optimizer = torch.optim.Adam([*network.parameters(), *learned.parameters()], 1e-3)
    seen = torch.rand(len(data.labels)) < variant.labeled
    result = Run(curves=[[] for _ in LAYERS])
    if seed == SEEDS[0]:  # the one that is drawn
        follow(result, network, data)
    for epoch in range(epochs):
        for batch in torch.randperm(len(data.images)).split(BATCH):
            images, labels = data.images[batch], data.labels[batch]
            *layers, logits = network(images)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, images.flatten(1))
            if variant.temperature is not None:
                temperature = learned() if variant.learned else torch.tensor(variant.temperature(epoch))
                known = seen[batch]
                loss = loss + WEIGHT * layer_losses([layer[known] for layer in layers], labels[known], temperature).sum()
                result.temperature = temperature.item()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if seed == SEEDS[0]:
            follow(result, network, data)
    with torch.no_grad():
        result.codes = network(data.held_images)[LAYERS.index("code")]
    result.scores = score(result.codes, data, seed)
    result.direction_scores = score(directions(result.codes), data, seed)
    return result


@torch.no_grad()
def follow(result: Run, network: Autoencoder, data: Digits) -> None:
    """Append the loss of each layer on the training digits, by the same yardstick for all variants and epochs."""
    batches = list(zip(data.images.split(BATCH), data.labels.split(BATCH), strict=True))
    losses = torch.stack([layer_losses(network(images)[:-1], labels, YARDSTICK) for images, labels in batches]).mean(0)
    for curve, value in zip(result.curves, losses.tolist(), strict=True):
        curve.append(value)


def directions(codes: Tensor) -> Tensor:
    """Return the codes at length 1: what a loss by cosines shapes."""
    return nn.functional.normalize(codes)


def score(codes: Tensor, data: Digits, seed: int) -> tuple[float, float]:
    """Return k-means' accuracy under the best naming of its ten clusters, and the normalized mutual information."""
    labels = data.held_labels
    found = KMeans(10, n_init=10, random_state=seed).fit_predict(codes.numpy())
    counts = confusion_matrix(labels.numpy(), found, labels=range(10))
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return counts[rows, columns].sum() / len(labels), float(normalized_mutual_info_score(labels.numpy(), found))


def draw_curves(report: Report, runs: dict[str, list[Run]]) -> None:
    """The loss of each layer over the epochs, first seed."""
    with report.figure("entanglement-layers", width=12.5, height=2.8) as figure:
        axes = figure.subplots(1, len(runs), sharey=True)
        for axis, (name, found) in zip(axes, runs.items(), strict=True):
            for layer, curve in zip(LAYERS, found[0].curves, strict=True):
                axis.plot(curve, label=layer)
            axis.set(title=name, xlabel="epoch")
        axes[0].set_ylabel("soft nearest neighbor loss")
        axes[0].legend()


def draw_codes(report: Report, runs: dict[str, list[Run]], labels: Tensor) -> None:
    """The held-out codes of the first seed on their two principal axes."""
    chosen = (VARIANTS[0].name, VARIANTS[2].name)
    with report.figure("entanglement-codes", height=4.2) as figure:
        axes = figure.subplots(1, 2)
        for axis, name in zip(axes, chosen, strict=True):
            flat = PCA(2).fit_transform(runs[name][0].codes.numpy())
            for digit in range(10):
                axis.scatter(*flat[np.asarray(labels) == digit].T, 8, color=colormaps["tab10"](digit), label=str(digit))
            axis.set(title=name, xticks=[], yticks=[])
        axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
