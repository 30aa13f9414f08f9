"""The network for matches: its geometry, what it does not depend on, and its configuration."""

import pytest
import torch

from models.networks.config import parse_config, store_config
from models.networks.correspondence_net import ContextNormalization, CorrespondenceConfig, CorrespondenceNet, NeighborBlock

SMALL = CorrespondenceConfig(features=8, blocks=4, embedding=3, values=4, k=3)


def built(config: CorrespondenceConfig = SMALL) -> CorrespondenceNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return config.build().eval()


def matches(number: int = 20) -> torch.Tensor:
    return torch.randn(2, number, 4, generator=torch.Generator().manual_seed(0))


def test_training_and_inference_compute_the_same() -> None:
    network = built()
    logits = network(matches())
    assert logits.shape == (2, 20)
    with torch.no_grad():
        torch.testing.assert_close(network(matches()), logits, atol=1e-5, rtol=1e-4)


def test_the_order_of_the_matches_does_not_matter() -> None:
    network, order = built(), torch.randperm(20, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(matches()[:, order]), network(matches())[:, order], atol=1e-5, rtol=1e-4)


def test_pairs_do_not_see_each_other() -> None:
    network = built()
    torch.testing.assert_close(network(matches())[1:], network(matches()[1:]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("n3_blocks", "places"), [(0, []), (1, [2]), (3, [1, 3, 5])])
def test_neighbors_are_searched_between_the_residual_blocks(n3_blocks: int, places: list[int]) -> None:
    network = built(CorrespondenceConfig(features=8, blocks=4, n3_blocks=n3_blocks))
    assert [index for index, block in enumerate(network.blocks) if isinstance(block, NeighborBlock)] == places
    assert len(network.blocks) == 4 + n3_blocks


def test_context_is_normalized_for_each_pair() -> None:
    norm = ContextNormalization(8)
    features = 3 + 5 * torch.randn(2, 8, 50, generator=torch.Generator().manual_seed(0))
    normalized = norm(features)
    torch.testing.assert_close(normalized.mean(2), torch.zeros(2, 8), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalized.var(2, correction=0), torch.ones(2, 8), atol=1e-4, rtol=0)


def test_too_few_matches_are_refused() -> None:
    assert built()(matches(8)).shape == (2, 8)
    with pytest.raises(ValueError, match="at least 8 matches, but there are 7"):
        built()(matches(7))
    assert built(CorrespondenceConfig(k=9)).smallest_set == 10


def test_the_configuration_can_be_stored() -> None:
    config = CorrespondenceConfig(features=16, n3_blocks=2, relaxation="paper")
    assert store_config(config)["network"] == "correspondences"
    assert parse_config(store_config(config)) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 3}, "unknown configuration values: width"),
        ({"features": 0}, "positive integers"),
        ({"k": 2.5}, "positive integers"),
        ({"n3_blocks": 6}, "n3_blocks"),
        ({"relaxation": "soft"}, "relaxation"),
    ],
)
def test_wrong_configurations_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CorrespondenceConfig.parse(values)
