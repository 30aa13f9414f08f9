"""The methods one can ask for."""

from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.inference.denoiser import Denoiser
from models.methods import METHODS, load_method, method_names
from models.neighbors.nlm import NonLocalMeans
from models.networks.n3net import N3Net, N3NetConfig
from models.weights import files as weights
from models.weights.files import WeightsError, save_weights, weights_names


@pytest.fixture
def small_dncnn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped weights that holds a small untrained DnCNN and N3Net."""
    torch.manual_seed(0)
    dncnn = N3NetConfig(blocks=0, depth=3, features=4)
    n3net = N3NetConfig(blocks=1, depth=2, features=4, planes=2, embedding=4)
    for name, config in (("dncnn", dncnn), ("n3net", n3net)):
        save_weights(tmp_path / f"{name}.safetensors", config, N3Net(config).state_dict(), (5, 75), {})
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    return tmp_path


def drive(stepping: Generator[float, None, Tensor]) -> tuple[list[float], Tensor]:
    """Run the steps to their end; return what they yielded and what they returned."""
    fractions = []
    while True:
        try:
            fractions.append(next(stepping))
        except StopIteration as finished:
            return fractions, finished.value


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.usefixtures("small_dncnn")
def test_every_method_has_the_same_interface(name: str) -> None:
    method = load_method(name, device="cpu", dtype="float32")
    assert method.name == name
    low, high = method.sigma_range
    assert low < 25 < high
    noisy = 0.5 + 0.1 * torch.randn(40, 37, generator=torch.Generator().manual_seed(0))
    fractions, denoised = drive(method.steps(noisy, 25 / 255))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert torch.equal(denoised, method.denoise(noisy, 25 / 255))
    assert denoised.shape == noisy.shape
    assert denoised.dtype == torch.float32


def test_what_each_name_loads(small_dncnn: Path) -> None:
    assert method_names() == list(METHODS)
    dncnn = load_method("dncnn", device="cpu", dtype="float32")
    assert isinstance(dncnn, Denoiser)
    assert dncnn.config.blocks == 0
    assert isinstance(load_method("nlm"), NonLocalMeans)
    other = load_method("n3net", weights=small_dncnn / "dncnn.safetensors", device="cpu", dtype="float32")
    assert other.name == "dncnn"


def test_what_has_no_weights_is_not_offered(small_dncnn: Path) -> None:
    (small_dncnn / "dncnn.safetensors").unlink()
    assert method_names() == ["n3net", "nlm"]
    with pytest.raises(WeightsError, match="dncnn"):
        load_method("dncnn")


def test_shipped_methods() -> None:
    assert method_names()[0] == "n3net"
    assert {*method_names()} == {"nlm", *weights_names()} & {*METHODS}


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no method 'bm3d'; there are n3net, dncnn, nlm"):
        load_method("bm3d")
