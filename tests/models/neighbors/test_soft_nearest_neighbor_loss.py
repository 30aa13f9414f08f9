"""Tests of the soft nearest neighbor loss."""

import math

import pytest
import torch
from torch import Tensor

from models.neighbors.soft_nearest_neighbor_loss import (
    Distance,
    LearnedTemperature,
    annealed_temperature,
    layer_losses,
    pairwise_distances,
    soft_nearest_neighbor_loss,
)


def by_loops(features: Tensor, labels: list[int], temperature: float, distance: Distance) -> float:
    """Return the loss of Eq. 1 of Frosst et al., computed by loops over Python floats."""
    rows = features.tolist()

    def apart(a: list[float], b: list[float]) -> float:
        if distance == "euclidean":
            return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
        return 1 - sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    terms = []
    for i, row in enumerate(rows):
        alike = everyone = 0.0
        for j, other in enumerate(rows):
            if i != j:
                weight = math.exp(-apart(row, other) / temperature)
                everyone += weight
                alike += weight if labels[i] == labels[j] else 0
        if any(labels[j] == labels[i] for j in range(len(rows)) if j != i):
            terms.append(-math.log(alike / everyone))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("temperature", [0.2, 1.0, 30.0])
def test_loss_agrees_with_loops(distance: Distance, temperature: float) -> None:
    features = torch.randn(12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    labels = [0, 1, 2, 0, 1, 1, 0, 2, 7, 0, 1, 1]  # 7 occurs once, so its row does not count
    loss = soft_nearest_neighbor_loss(features, torch.tensor(labels), temperature, distance)
    assert loss.item() == pytest.approx(by_loops(features, labels, temperature, distance), rel=1e-12)


def test_worked_example_of_an_article() -> None:
    # Features and both matrices are from Agarap 2023, "Implementing Soft Nearest Neighbor Loss in PyTorch". The features are
    # rounded too, hence the tolerance of 6e-5.
    features = torch.tensor(
        [
            [1.0999, -0.9438, 0.7996, -0.4247],
            [1.2150, -0.2953, 0.0417, -1.2913],
            [1.3218, 0.4214, -0.1541, 0.0961],
            [-0.7253, 1.1685, -0.1070, 1.3683],
        ]
    )
    distances = torch.tensor(
        [
            [0.0, 0.28502, 0.62687, 1.7732],
            [0.28502, 0.0, 0.46293, 1.8581],
            [0.62687, 0.46293, 0.0, 1.1171],
            [1.7732, 1.8581, 1.1171, 0.0],
        ]
    )
    torch.testing.assert_close(pairwise_distances(features), distances, atol=5e-5, rtol=0)
    similarities = torch.tensor(
        [
            [1.0000, 0.7520, 0.5343, 0.1698],
            [0.7520, 1.0000, 0.6294, 0.1560],
            [0.5343, 0.6294, 1.0000, 0.3272],
            [0.1698, 0.1560, 0.3272, 1.0000],
        ]
    )
    torch.testing.assert_close((-pairwise_distances(features)).exp(), similarities, atol=6e-5, rtol=0)


def test_worked_example_by_hand() -> None:
    # The cosines of these unit vectors can be computed by hand, from the 3-4-5 and 5-12-13 triangles.
    features = torch.tensor([[1.0, 0, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1.0, 0], [0, 5 / 13, 12 / 13, 0]])
    distances = torch.tensor(
        [
            [0.0000, 0.4000, 1.0000, 1.0000],
            [0.4000, 0.0000, 1.0000, 0.6923],
            [1.0000, 1.0000, 0.0000, 0.0769],
            [1.0000, 0.6923, 0.0769, 0.0000],
        ]
    )
    torch.testing.assert_close(pairwise_distances(features), distances, atol=5e-5, rtol=0)
    similarities = torch.tensor(
        [
            [1.0000, 0.6703, 0.3679, 0.3679],
            [0.6703, 1.0000, 0.3679, 0.5004],
            [0.3679, 0.3679, 1.0000, 0.9260],
            [0.3679, 0.5004, 0.9260, 1.0000],
        ]
    )
    torch.testing.assert_close((-pairwise_distances(features)).exp(), similarities, atol=5e-5, rtol=0)
    # With classes {1, 2} and {3, 4}: 0.6703 / 1.4061, 0.6703 / 1.5386, 0.9260 / 1.6618, 0.9260 / 1.7943.
    loss = soft_nearest_neighbor_loss(features, torch.tensor([0, 0, 1, 1]), 1.0)
    expected = -sum(map(math.log, (0.6703 / 1.4061, 0.6703 / 1.5386, 0.9260 / 1.6618, 0.9260 / 1.7943))) / 4
    assert loss.item() == pytest.approx(expected, abs=1e-4)


def test_euclidean_distances_are_squared() -> None:
    features = torch.randn(6, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    flat = features.reshape(6, 6)
    torch.testing.assert_close(pairwise_distances(features, "euclidean"), torch.cdist(flat, flat).square())


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_gradients_match_finite_differences(distance: Distance) -> None:
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(7, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    temperature = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 0, 2, 1, 0, 5])

    def loss(features: Tensor, temperature: Tensor) -> Tensor:
        return soft_nearest_neighbor_loss(features, labels, temperature, distance)

    assert torch.autograd.gradcheck(loss, (features, temperature))


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("temperature", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (torch.ones(4, 3), [0, 0, 1, 1]),  # all the same point
        (torch.zeros(4, 3), [0, 0, 1, 1]),  # no direction
        (torch.tensor([[1.0, 2], [1, 2], [3, 1], [3, 1]]), [0, 1, 0, 1]),  # duplicates across classes
        (torch.randn(4, 3, generator=torch.Generator().manual_seed(0)) * 1e3, [0, 0, 1, 1]),
    ],
)
def test_degenerate_features_have_finite_gradients(
    features: Tensor, labels: list[int], temperature: float, distance: Distance
) -> None:
    features = features.clone().requires_grad_()
    loss = soft_nearest_neighbor_loss(features, torch.tensor(labels), temperature, distance)
    loss.backward()
    assert loss.isfinite()
    assert features.grad is not None
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("labels", [[3, 3, 3, 3], [0, 1, 2, 3], [5]])
def test_batches_of_one_class_or_without_pairs_have_loss_zero(labels: list[int]) -> None:
    features = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(4), requires_grad=True)
    loss = soft_nearest_neighbor_loss(features, torch.tensor(labels), 0.5)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert features.grad is not None
    assert features.grad.abs().max() < 1e-6


def test_separated_classes_have_a_lower_loss_than_mixed_ones() -> None:
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(40) % 4
    mixed = torch.randn(40, 8, generator=generator)
    separated = mixed + 10 * torch.nn.functional.one_hot(labels, 8)
    assert soft_nearest_neighbor_loss(separated, labels, 0.1) < 0.1 * soft_nearest_neighbor_loss(mixed, labels, 0.1)


def test_layer_losses_are_the_losses_of_the_layers() -> None:
    generator = torch.Generator().manual_seed(6)
    layers = [torch.randn(9, size, generator=generator) for size in (4, 6)]
    labels = torch.arange(9) % 3
    losses = layer_losses(layers, labels, 0.8, "euclidean")
    assert losses.tolist() == [soft_nearest_neighbor_loss(layer, labels, 0.8, "euclidean").item() for layer in layers]
    with pytest.raises(ValueError, match="at least one layer"):
        layer_losses([], labels, 1.0)


def test_annealed_temperature_follows_the_published_schedule() -> None:
    assert annealed_temperature(0) == 1
    assert annealed_temperature(1) == pytest.approx(2**-0.55)
    assert annealed_temperature(99) == pytest.approx(0.0794, abs=1e-4)
    with pytest.raises(ValueError, match="epoch must be at least 0"):
        annealed_temperature(-1)


def test_a_learned_temperature_lowers_the_loss() -> None:
    temperature = LearnedTemperature(5.0)
    assert temperature().item() == pytest.approx(5)
    generator = torch.Generator().manual_seed(7)
    labels = torch.arange(30) % 3
    features = torch.randn(30, 4, generator=generator) + 2 * torch.nn.functional.one_hot(labels, 4)
    optimizer = torch.optim.Adam(temperature.parameters(), 0.1)
    losses = []
    for _ in range(30):
        loss = soft_nearest_neighbor_loss(features, labels, temperature())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert temperature() > 0
    with pytest.raises(ValueError, match="positive"):
        LearnedTemperature(0)


def test_invalid_arguments_are_rejected() -> None:
    with pytest.raises(ValueError, match="as many labels"):
        soft_nearest_neighbor_loss(torch.rand(3, 2), torch.tensor([0, 1]), 1.0)
    with pytest.raises(ValueError, match="distance must be"):
        soft_nearest_neighbor_loss(torch.rand(2, 2), torch.tensor([0, 0]), 1.0, "manhattan")  # type: ignore[arg-type]
