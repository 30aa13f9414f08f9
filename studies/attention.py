"""The gain from non-local blocks in a small classifier of digits, and the places they attend to."""

import torch
from torch import Tensor, nn

from models.neighbors.non_local import NonLocalBlock
from studies import digits
from studies.digits import Digits
from studies.report import Options, Report, spread
from studies.selection_cost import in_fresh_process

SEEDS = (0, 1, 2)
BATCH = 64
SHOWN = 5  # number of misclassified digits in the plot


class Classifier(nn.Module):
    """Three convolutions and a linear layer, with or without a non-local block after the first and the second convolution."""

    def __init__(self, side: int, blocks: bool) -> None:
        super().__init__()
        sides = [side // 2 if side > 16 else side]  # digits of 8 x 8 pixels are small enough without pooling
        sides.append(sides[0] // 2)
        self.first, self.second = convolution(1, 16, pooled=side > 16), convolution(16, 32, pooled=True)
        self.third = convolution(32, 64, pooled=False)
        self.blocks = nn.ModuleList([NonLocalBlock(16), NonLocalBlock(32)] if blocks else [nn.Identity(), nn.Identity()])
        self.head = nn.Linear(64 * sides[1] ** 2, 10)

    def features(self, images: Tensor) -> Tensor:
        """Map (B, 1, S, S) to the last feature map (B, 64, h, w)."""
        out: Tensor = self.third(self.blocks[1](self.second(self.blocks[0](self.first(images)))))
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 1, S, S) to the class logits (B, 10)."""
        logits: Tensor = self.head(self.features(images).flatten(1))
        return logits

    def heat(self, images: Tensor, classes: Tensor) -> Tensor:
        """Return the contribution of each place to the logit of a class, (B, h, w); their sum plus the bias is the logit."""
        features = self.features(images)
        weights = self.head.weight.view(10, *features.shape[1:])
        return (weights[classes] * features).sum(1)


def convolution(in_planes: int, out_planes: int, pooled: bool) -> nn.Sequential:
    layers = [nn.Conv2d(in_planes, out_planes, 3, padding=1, bias=False), nn.BatchNorm2d(out_planes), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2) if pooled else nn.Identity())


def run(options: Options) -> None:
    report = Report(options, "non-local.md")
    data = digits.load(options.digits)
    epochs = 2 if options.quick else 20
    seeds = SEEDS[:1] if options.quick else SEEDS
    rows, curves, shown = [], {}, None
    for name, blocks in (("three convolutions", False), ("with two non-local blocks", True)):
        runs = [train(data, blocks, seed, epochs) for seed in seeds]
        curves[name] = [accuracies for _, accuracies in runs]
        first, last = ([100 * run[epoch] for run in curves[name]] for epoch in (0, -1))
        parameters = sum(p.numel() for p in runs[0][0].parameters())
        rows.append([name, f"{parameters:,}", spread(first), spread(last)])
        shown = runs[0][0]
    report.table("classifier", ("network", "parameters", "accuracy after 1 epoch, %", f"after {epochs} epochs, %"), rows)
    draw_curves(report, curves)
    assert shown is not None
    draw_attention(report, shown, data)
    sides = (16, 32) if options.quick else (16, 64, 128, 256)
    costs = in_fresh_process(one_block, sides)
    rows = []
    for side, _, memory in costs:
        step = subsampling(side)
        matrix = side**4 // step**2 * 4 / 2**20
        rows.append([f"{side} x {side}", str(step), f"{memory:.0f}", f"{matrix:,.0f}"])
    report.table(
        "memory", ("map of 8 planes", "subsampling of the keys", "peak memory, MiB", "size of the attention matrix, MiB"), rows
    )


@torch.no_grad()
def one_block(side: int) -> None:
    NonLocalBlock(8, subsample=subsampling(side))(torch.zeros(1, 8, side, side))


def subsampling(side: int) -> int:
    return 2 if side > 128 else 1


def train(data: Digits, blocks: bool, seed: int, epochs: int) -> tuple[Classifier, list[float]]:
    """Train one classifier, and return it with its accuracy on the held-out digits after each epoch."""
    torch.manual_seed(seed)
    network = Classifier(data.side, blocks)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    accuracies = []
    for _ in range(epochs):
        network.train()
        for batch in torch.randperm(len(data.images)).split(BATCH):
            loss = nn.functional.cross_entropy(network(data.images[batch]), data.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        accuracies.append((predict(network, data.held_images) == data.held_labels).float().mean().item())
    return network, accuracies


@torch.no_grad()
def predict(network: Classifier, images: Tensor) -> Tensor:
    network.eval()
    return torch.cat([network(part).argmax(1) for part in images.split(1000)])


def draw_curves(report: Report, curves: dict[str, list[list[float]]]) -> None:
    """Draw the error on the held-out digits over the epochs, a thin line for each seed and a thick one for the mean of the seeds.

    The networks differ by tenths of a percent in the end, which only a logarithmic axis of the error shows beside the beginning.
    """
    with report.figure("attention-accuracy", width=5.5, height=3.4) as figure:
        axis = figure.subplots()
        for color, (name, seeds) in enumerate(curves.items()):
            errors = 100 * (1 - torch.tensor(seeds, dtype=torch.float64))  # (seeds, epochs)
            epochs = range(1, errors.shape[1] + 1)
            axis.plot(epochs, errors.T, f"C{color}", alpha=0.35, lw=0.8)
            axis.plot(epochs, errors.mean(0), f"C{color}", lw=2.2, label=name)
        axis.set(
            xlabel="epoch", ylabel="held-out error, %", yscale="log", yticks=(0.5, 1, 2, 5, 10, 20), xticks=(1, 5, 10, 15, 20)
        )
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        axis.legend(title="mean of the seeds (thin: each seed)")


@torch.no_grad()
def draw_attention(report: Report, network: Classifier, data: Digits) -> None:
    """Draw the attention of the most attended place, and the contributions of the places to two classes, for wrong digits."""
    predicted = predict(network, data.held_images)
    wrong = (predicted != data.held_labels).nonzero()[:SHOWN, 0]
    images = data.held_images[wrong]
    maps = network.first(images)
    block = network.blocks[0]
    assert isinstance(block, NonLocalBlock)
    places = block.most_attended(maps).tolist()
    heats = [network.heat(images, classes) for classes in (predicted[wrong], data.held_labels[wrong])]
    titles = ("digit", "attention of the\nmost attended place", "speaks for the answer", "speaks for the truth")

    with report.figure("attention-maps", width=7.0, height=1.8 * max(len(wrong), 1)) as figure:
        axes = figure.subplots(max(len(wrong), 1), 4, squeeze=False)
        for row, (row_place, column_place) in enumerate(places):
            _, attention = block(maps[row : row + 1], return_attention=(row_place, column_place))
            axes[row, 0].imshow(images[row, 0].numpy(), cmap="gray_r")
            axes[row, 1].imshow(attention[0].numpy(), cmap="viridis")
            axes[row, 1].plot(column_place, row_place, "r+", ms=10)
            bound = max(heat[row].abs().max().item() for heat in heats)
            for column, heat in enumerate(heats, 2):
                axes[row, column].imshow(heat[row].numpy(), cmap="RdBu_r", vmin=-bound, vmax=bound)
            axes[row, 0].set_ylabel(f"a {data.held_labels[wrong[row]]}, taken for a {predicted[wrong[row]]}")
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
            axis.grid(visible=False)
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title)
