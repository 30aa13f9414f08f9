"""The soft nearest neighbor loss in an autoencoder of digits: do codes cluster better if the loss keeps their classes apart?"""

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
WEIGHT = 1.0  # of the loss, added to the binary cross-entropy of the reconstruction
BATCH = 128
COMPARED_AT = 0.1  # temperature at which the losses of all variants are compared
LAYERS = ("hidden 1", "hidden 2", "code", "hidden 4", "hidden 5")


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        name: Its name in the table.
        temperature: Temperature of the loss by epoch; None trains without the loss.
        learned: Whether the temperature is learned instead, starting at 1.
        labeled: Share of the training digits with a label.
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
class Outcome:
    """The outcome of one training.

    Attributes:
        curves: Loss of each layer by epoch.
        temperature: Temperature in the last epoch.
        codes: Codes of the held-out digits, (N, `CODE`).
        scores: Clustering accuracy and normalized mutual information of the codes.
        direction_scores: The same scores for the codes scaled to length 1.
    """

    curves: list[list[float]] = field(default_factory=list)
    temperature: float = 1.0
    codes: Tensor = field(default_factory=lambda: torch.empty(0))
    scores: tuple[float, float] = (0.0, 0.0)
    direction_scores: tuple[float, float] = (0.0, 0.0)


class Autoencoder(nn.Module):
    """A fully connected autoencoder, symmetric about the code, that returns all its layers."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        sizes = (pixels, 128, 64, CODE, 64, 128, pixels)
        self.steps = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (B, 1, S, S) to the five hidden layers and the logits (B, S * S) of the reconstruction."""
        layers = [images.flatten(1)]
        for index, step in enumerate(self.steps):
            out = step(layers[-1])
            linear = index in (2, len(self.steps) - 1)  # the code and the logits have no ReLU
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
    pixels = [Outcome(scores=score(held, data, seed), direction_scores=score(directions(held), data, seed)) for seed in seeds]
    rows = []
    for name, found in ({"no network: pixels": pixels} | runs).items():
        scores = [*zip(*(run.scores for run in found), strict=True), *zip(*(run.direction_scores for run in found), strict=True)]
        temperature = f"{found[0].temperature:.2f}" if "T" in name else "-"
        rows.append([name, *(spread(score, ".3f") for score in scores), temperature])
    report.table("clustering", ("code", "k-means accuracy", "NMI", "accuracy, directions", "NMI, directions", "final T"), rows)
    first = next(iter(runs.values()))[0]
    rows = [["before training", *(f"{curve[0]:.2f}" for curve in first.curves)]]
    rows += [[name, *(f"{curve[-1]:.2f}" for curve in found[0].curves)] for name, found in runs.items()]
    report.table("layers", ("entanglement", *LAYERS), rows)


def train(data: Digits, variant: Variant, seed: int, epochs: int) -> Outcome:
    """Train one autoencoder and cluster the held-out digits by its code."""
    torch.manual_seed(seed)
    network = Autoencoder(data.side**2)
    learned = LearnedTemperature()
    optimizer = torch.optim.Adam([*network.parameters(), *learned.parameters()], 1e-3)
    seen = torch.rand(len(data.labels)) < variant.labeled
    result = Outcome(curves=[[] for _ in LAYERS])
    if seed == SEEDS[0]:  # only this seed is drawn
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
def follow(result: Outcome, network: Autoencoder, data: Digits) -> None:
    """Append the loss of each layer on the training digits, at the same temperature for all variants and epochs."""
    batches = list(zip(data.images.split(BATCH), data.labels.split(BATCH), strict=True))
    losses = torch.stack([layer_losses(network(images)[:-1], labels, COMPARED_AT) for images, labels in batches]).mean(0)
    for curve, value in zip(result.curves, losses.tolist(), strict=True):
        curve.append(value)


def directions(codes: Tensor) -> Tensor:
    """Return the codes scaled to length 1. The loss compares codes by their cosines, so it acts on directions only."""
    return nn.functional.normalize(codes)


def score(codes: Tensor, data: Digits, seed: int) -> tuple[float, float]:
    """Cluster codes by k-means; return the accuracy for the best assignment of clusters to digits, and the mutual information."""
    labels = data.held_labels
    found = KMeans(10, n_init=10, random_state=seed).fit_predict(codes.numpy())
    counts = confusion_matrix(labels.numpy(), found, labels=range(10))
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return counts[rows, columns].sum() / len(labels), float(normalized_mutual_info_score(labels.numpy(), found))


def draw_curves(report: Report, runs: dict[str, list[Outcome]]) -> None:
    """Draw the loss of each layer over the epochs, for the first seed."""
    with report.figure("entanglement-layers", width=12.5, height=2.8) as figure:
        axes = figure.subplots(1, len(runs), sharey=True)
        for axis, (name, found) in zip(axes, runs.items(), strict=True):
            for layer, curve in zip(LAYERS, found[0].curves, strict=True):
                axis.plot(curve, label=layer)
            axis.set(title=name, xlabel="epoch")
        axes[0].set_ylabel("soft nearest neighbor loss")
        axes[0].legend()


def draw_codes(report: Report, runs: dict[str, list[Outcome]], labels: Tensor) -> None:
    """Draw the held-out codes of the first seed on their two principal axes."""
    chosen = (VARIANTS[0].name, VARIANTS[2].name)
    with report.figure("entanglement-codes", height=4.2) as figure:
        axes = figure.subplots(1, 2)
        for axis, name in zip(axes, chosen, strict=True):
            flat = PCA(2).fit_transform(runs[name][0].codes.numpy())
            for digit in range(10):
                axis.scatter(*flat[np.asarray(labels) == digit].T, 8, color=colormaps["tab10"](digit), label=str(digit))
            axis.set(title=name, xticks=[], yticks=[])
        axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
