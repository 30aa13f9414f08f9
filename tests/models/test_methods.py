"""Tests of the methods that callers select by name."""

from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.inference.denoiser import Denoiser
from models.inference.gray_and_color import GrayAndColor
from models.methods import METHODS, has_upscaler, load_method, load_upscaler, method_names
from models.neighbors.nlm import NonLocalMeans
from models.networks.n3net import N3NetConfig
from models.networks.n3unet import N3UNetConfig
from models.networks.noise_level_net import NoiseLevelConfig
from models.networks.upscaling_net import UpscalingConfig
from models.weights import files as weights
from models.weights.files import DEFAULT_NAME, WeightsError, save_weights, weights_names


@pytest.fixture
def small_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the folder of shipped weights by one with a small untrained network of each kind."""
    torch.manual_seed(0)
    dncnn = N3NetConfig(blocks=0, depth=3, features=4)
    n3net = N3NetConfig(blocks=1, depth=2, features=4, planes=2, embedding=4)
    n3unet = N3UNetConfig(features=4, planes=4, embedding=4)
    photo = N3UNetConfig(channels=3, noise_planes=2, features=4, planes=4, embedding=4)
    estimator = NoiseLevelConfig(filters=4, features=4)
    for name, config in (
        *(("dncnn", dncnn), ("n3net", n3net), ("n3unet", n3unet)),
        *(("photo", photo), ("noise-level", estimator)),
    ):
        save_weights(tmp_path / f"{name}.safetensors", config, config.build().state_dict(), (0, 75), {})
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    return tmp_path


def drive(stepping: Generator[float, None, Tensor]) -> tuple[list[float], Tensor]:
    """Run all steps. Return what they yielded and what they returned."""
    fractions = []
    while True:
        try:
            fractions.append(next(stepping))
        except StopIteration as finished:
            return fractions, finished.value


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.usefixtures("small_weights")
def test_every_method_has_the_same_interface(name: str) -> None:
    method = load_method(name, device="cpu", dtype="float32")
    assert method.info.name == name
    low, high = method.info.sigma_range
    assert low < 25 < high
    noisy = 0.5 + 0.1 * torch.randn(40, 37, generator=torch.Generator().manual_seed(0))
    fractions, denoised = drive(method.steps(noisy, 25 / 255))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert torch.equal(denoised, method.denoise(noisy, 25 / 255))
    assert denoised.shape == noisy.shape
    assert denoised.dtype == torch.float32


@pytest.mark.usefixtures("small_weights")
def test_each_name_loads_its_method() -> None:
    assert method_names() == list(METHODS)
    dncnn = load_method("dncnn", device="cpu", dtype="float32")
    assert isinstance(dncnn, Denoiser)
    assert dncnn.footprint.blocks == 0
    assert isinstance(load_method("nlm"), NonLocalMeans)
    n3net = load_method("n3net", device="cpu", dtype="float32")
    assert isinstance(n3net, Denoiser)
    assert n3net.footprint.blocks == 1
    assert load_method(device="cpu", dtype="float32").info.name == DEFAULT_NAME


def test_other_weights_replace_those_of_the_default_method(small_weights: Path) -> None:
    for other in ("dncnn", "n3net", small_weights / "dncnn.safetensors"):
        info = load_method(weights=other, device="cpu", dtype="float32").info
        assert (info.name, info.weights) == (DEFAULT_NAME, Path(other).stem)
    for own in ("default", "", DEFAULT_NAME):
        assert load_method(weights=own, device="cpu", dtype="float32").info.weights == DEFAULT_NAME


@pytest.mark.parametrize("name", [name for name in METHODS if name != DEFAULT_NAME])
def test_other_methods_refuse_weights(small_weights: Path, name: str) -> None:
    for other in ("n3unet", small_weights / "n3unet.safetensors", "absent"):
        with pytest.raises(ValueError, match=f"{other} cannot replace those of {name}, only .* the default model, n3unet"):
            load_method(name, weights=other, device="cpu")
    assert load_method(name, weights="default", device="cpu", dtype="float32").info.name == name


def test_the_network_for_color_belongs_to_the_shipped_weights(small_weights: Path, tmp_path: Path) -> None:
    config = N3UNetConfig(channels=3, features=4, planes=4, embedding=4)
    save_weights(small_weights / "n3unet-color.safetensors", config, config.build().state_dict(), (0, 75), {})
    (tmp_path / "mine").mkdir()
    mine = tmp_path / "mine" / "n3unet.safetensors"  # even with the shipped name
    mine.write_bytes((small_weights / "n3unet.safetensors").read_bytes())
    for own in ("default", DEFAULT_NAME):
        assert isinstance(load_method(weights=own, device="cpu", dtype="float32"), GrayAndColor)
    for other in (mine, "n3net"):
        method = load_method(weights=other, device="cpu", dtype="float32")
        assert isinstance(method, Denoiser)
        assert method.info.color is None


def test_a_network_without_weights_is_not_offered(small_weights: Path) -> None:
    (small_weights / "dncnn.safetensors").unlink()
    assert method_names() == ["n3unet", "n3net", "photo", "nlm"]
    with pytest.raises(WeightsError, match="dncnn"):
        load_method("dncnn")
    (small_weights / "noise-level.safetensors").unlink()
    assert "photo" not in method_names()  # it needs the network that estimates noise


def test_the_network_that_enlarges_is_no_method(small_weights: Path) -> None:
    assert not has_upscaler()
    with pytest.raises(WeightsError, match="no weights 'upscale'"):
        load_upscaler(device="cpu")
    config = UpscalingConfig(features=4, planes=4, embedding=4)
    save_weights(small_weights / "upscale.safetensors", config, config.build().state_dict(), (0, 25), {})
    assert has_upscaler()
    assert method_names() == list(METHODS)
    upscaler = load_upscaler(device="cpu", dtype="float32")
    assert (upscaler.info.name, upscaler.info.weights) == ("upscale", "upscale")
    assert upscaler.upscale(torch.zeros(8, 9), 0.0, 3).shape == (24, 27)
    with pytest.raises(WeightsError, match="enlarge images and cannot denoise"):
        load_method("n3unet", weights="upscale", device="cpu")


@pytest.mark.parametrize(
    ("name", "message"), [("noise-level", "estimate noise and cannot denoise"), ("photo", "are for RGB pictures")]
)
def test_weights_for_another_purpose_are_refused(small_weights: Path, name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load_method("n3unet", weights=small_weights / f"{name}.safetensors", device="cpu", dtype="float32")


def test_methods_with_shipped_weights_are_offered() -> None:
    assert method_names()[0] == DEFAULT_NAME
    assert {*method_names()} == {"nlm", *weights_names()} & {*METHODS}


def test_an_unknown_name_is_rejected() -> None:
    with pytest.raises(ValueError, match="unknown method 'bm3d'; known methods: n3unet, n3net, photo, dncnn, nlm"):
        load_method("bm3d")
