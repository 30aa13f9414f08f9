"""Weights files: written, verified when loaded, and refused if damaged."""

import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from models.networks.n3net import N3NetConfig
from models.weights.compact import compact
from models.weights.files import (
    DEFAULT_NAME,
    FOLDER,
    WeightsError,
    load_weights,
    save_weights,
    weights_names,
)
from tests.support.networks import random_network

FACTS = {"data": "made up"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    network = random_network(0)
    save_weights(tmp_path / "mine.safetensors", network.config, network.state_dict(), (5, 50), FACTS)
    return tmp_path / "mine.safetensors"


def test_what_is_saved_is_what_is_loaded(saved: Path) -> None:
    network = random_network(0)
    weights = load_weights(saved)
    assert (weights.name, weights.config, weights.sigma_range, weights.facts) == ("mine", network.config, (5, 50), FACTS)
    assert re.fullmatch("[0-9a-f]{64}", weights.sha256)
    for key, tensor in network.state_dict().items():
        assert torch.equal(weights.state[key], tensor)
    assert load_weights(str(saved)).sha256 == weights.sha256
    assert list(saved.parent.iterdir()) == [saved]


def test_a_saved_file_is_as_readable_as_any_new_file(saved: Path) -> None:
    saved.with_name("new").touch()
    assert saved.stat().st_mode == saved.with_name("new").stat().st_mode


def test_every_shipped_file_has_a_card_that_names_it() -> None:
    assert load_weights("default").name == DEFAULT_NAME == "n3unet"
    for name in weights_names():
        text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
        assert load_weights(name).sha256 in text
        assert "CC BY 4.0" in text
    assert {path.stem for path in FOLDER.glob("*.md")} == set(weights_names())


def test_a_compact_file_holds_the_same_network_in_fewer_bytes(saved: Path) -> None:
    target = saved.with_name("small.safetensors")
    digest = compact(saved, target)
    whole, small = load_weights(saved), load_weights(target)
    assert small.sha256 == digest != whole.sha256
    assert small.facts == FACTS
    for key, tensor in whole.state.items():
        assert small.state[key].dtype == tensor.dtype
        torch.testing.assert_close(small.state[key], tensor, rtol=1 / 2048 if tensor.ndim > 1 else 0, atol=1e-7)
    assert target.stat().st_size < saved.stat().st_size
    assert compact(target, saved) == compact(target, saved.with_name("again.safetensors"))


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_flipped_bit_is_found(saved: Path, place: float) -> None:
    content = bytearray(saved.read_bytes())
    content[int(len(content) * place)] ^= 16
    saved.write_bytes(content)
    with pytest.raises(WeightsError, match=r"corrupt|readable|header"):
        load_weights(saved)


def test_a_truncated_file_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="readable"):
        load_weights(saved)


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights 'absent'.*n3net"):
        load_weights("absent")
    with pytest.raises(WeightsError, match="no weights"):
        load_weights(tmp_path)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(WeightsError, match="readable"):
        load_weights(tmp_path / "text")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="not a weights file of n3denoise"):
        load_weights(tmp_path / "other.safetensors")


def test_a_header_that_does_not_fit_its_tensors_is_refused(tmp_path: Path) -> None:
    network = random_network(0)
    other = N3NetConfig(**{**network.config.asdict(), "planes": 4})
    save_weights(tmp_path / "a.safetensors", other, network.state_dict(), (0, 75), {})
    with pytest.raises(WeightsError, match="does not hold the network"):
        load_weights(tmp_path / "a.safetensors")


def test_numbers_that_are_not_finite_are_not_saved(saved: Path) -> None:
    network = random_network(0)
    state = network.state_dict()
    state["dncnns.0.0.bias"][0] = torch.nan
    before = saved.read_bytes()
    with pytest.raises(ValueError, match=r"dncnns\.0\.0\.bias"):
        save_weights(saved, network.config, state, (0, 75), {})
    assert saved.read_bytes() == before


def test_metadata_can_be_read_without_us(saved: Path) -> None:
    with safe_open(saved, "pt") as file:
        assert file.metadata()["sha256"] == load_weights(saved).sha256
