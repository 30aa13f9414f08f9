"""Evaluation of super-resolution: the protocol, the report, and what is refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from models.images import resize
from models.images.files import read_gray
from models.inference.upscaler import Upscaler
from models.networks.upscaling_net import EarlyUpscalingConfig
from models.upscaling_evaluation import UpscalingScore, evaluate_upscaling, load_upscale, mean_scores, report
from models.weights.files import WeightsError, save_weights
from tests.support.image_folders import gray_and_color
from tests.support.networks import random_image, random_upscaling_net, random_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gray_and_color(tmp_path_factory.mktemp("set"))


def nearest(noisy: Tensor, sigma: float, factor: int) -> Tensor:
    """Stand for a network: repeat each pixel, and add sigma, so that the test sees what it is told."""
    return noisy.repeat_interleave(factor, 0).repeat_interleave(factor, 1) + sigma


@pytest.mark.parametrize("sigma", [0, 10])
def test_scores_follow_the_protocol(folder: Path, sigma: float) -> None:
    """The oracle is Pillow's resizing and scikit-image's metrics."""
    scores = list(evaluate_upscaling(nearest, folder, [2, 3, 4], sigma))
    assert [(score.image, score.factor) for score in scores] == [
        (image, factor) for image in ("a.png", "b.png") for factor in (2, 3, 4)
    ]
    assert [score.image for score in evaluate_upscaling(nearest, folder, [2], only=["b.png"])] == ["b.png"]
    for score in scores[3:]:
        assert score.sigma == sigma
        clean, factor = read_gray(folder / "b.png").numpy(), score.factor
        height, width = (side // factor * factor for side in clean.shape)
        clean = clean[:height, :width]
        size = width // factor, height // factor
        reduced = np.asarray(Image.fromarray(255 * clean).resize(size, Image.Resampling.BICUBIC)).round().clip(0, 255) / 255
        noise = torch.randn(reduced.shape, generator=torch.Generator().manual_seed(1)).numpy()  # the index in name order
        noisy = (reduced + score.sigma / 255 * noise).astype(np.float32)
        bicubic = np.asarray(Image.fromarray(noisy).resize((width, height), Image.Resampling.BICUBIC))
        other = np.kron(noisy, np.ones((factor, factor), np.float32)) + np.float32(score.sigma / 255)
        inside = slice(factor, -factor), slice(factor, -factor)
        for image, decibels, similarity in (
            (bicubic, score.psnr_bicubic, score.ssim_bicubic),
            (other, score.psnr, score.ssim),
        ):
            first, second = (each[inside].astype(np.float64) for each in (image, clean))
            assert decibels == pytest.approx(peak_signal_noise_ratio(second, first, data_range=1), abs=1e-3)
            expected = structural_similarity(
                second, first, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            )
            assert similarity == pytest.approx(expected, abs=1e-4)
    assert all(score.seconds > 0 for score in scores)


def test_ensemble_scores_stand_beside_the_plain_ones(folder: Path) -> None:
    def shifted(noisy: Tensor, sigma: float, factor: int) -> Tensor:
        """Repeat each pixel, and darken the left half: the mean over all views darkens everything by half as much."""
        large = nearest(noisy, sigma, factor)
        large[:, : large.shape[1] // 2] -= 0.1
        return large

    def darker(noisy: Tensor, sigma: float, factor: int) -> Tensor:
        return nearest(noisy, sigma, factor) - 0.05

    plain, both, expected = (
        list(evaluate_upscaling(upscale, folder, [2], only=["b.png"], ensemble=ensemble))
        for upscale, ensemble in ((shifted, False), (shifted, True), (darker, False))
    )
    assert plain[0].psnr_ensemble is None
    assert "psnr_ensemble" not in plain[0].asdict()
    assert (both[0].psnr, both[0].ssim) == (plain[0].psnr, plain[0].ssim)
    assert both[0].psnr_ensemble == pytest.approx(expected[0].psnr, abs=1e-3)
    assert set(mean_scores(both)[2]) - set(mean_scores(plain)[2]) == {"psnr_ensemble", "ssim_ensemble"}


def test_means_and_numbers_that_json_cannot_say() -> None:
    scores = [
        UpscalingScore("a", 2, 0, 30.0, math.inf, 0.8, 0.9, 1.0),
        UpscalingScore("b", 2, 0, 32.0, 36.0, 0.6, 0.7, 2.0),
        UpscalingScore("b", 3, 0, 28.0, 29.0, 0.5, 0.6, 3.0),
        UpscalingScore("b", 3, 10, 18.0, 19.0, 0.5, 0.6, 3.0),
    ]
    assert mean_scores(scores[:3])[3]["psnr"] == 29
    content = json.loads(json.dumps(report(scores), allow_nan=False))
    assert content["mean"]["0"]["2"] == {
        "psnr_bicubic": 31,
        "psnr": None,
        "ssim_bicubic": pytest.approx(0.7),
        "ssim": pytest.approx(0.8),
        "seconds": 1.5,
    }
    assert content["mean"]["10"]["3"]["psnr"] == 19
    assert content["images"][0]["psnr"] is None
    assert content["images"][2]["factor"] == 3


def test_an_image_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    Image.new("L", (100, 11)).save(tmp_path / "thin.png")
    (score,) = evaluate_upscaling(nearest, tmp_path, [3])
    assert math.isnan(score.ssim)
    with pytest.raises(ValueError, match=r"thin\.png is too small to be measured at factor 4"):
        list(evaluate_upscaling(nearest, tmp_path, [4]))


def test_either_kind_of_network_is_loaded(tmp_path: Path) -> None:
    noisy = random_image(24, 31)
    weights, path = random_upscaling_net(1), tmp_path / "upscale.safetensors"
    save_weights(path, weights.config, weights.state, weights.sigma_range, {})
    enlarge = load_upscale(path, "cpu", "float32")
    assert torch.equal(enlarge(noisy, 0.05, 3), Upscaler.load(path, "cpu", "float32").upscale(noisy, 0.05, 3))

    early, path = EarlyUpscalingConfig(features=4, depth=2, planes=4, embedding=4), tmp_path / "early.safetensors"
    torch.manual_seed(0)
    network = early.build()
    save_weights(path, early, network.state_dict(), (0, 20), {})
    enlarge = load_upscale(path, "cpu", "float32")
    with pytest.raises(ValueError, match="between 0 and 20"):
        enlarge(noisy, 0.1, 3)
    enlarged, bicubic = enlarge(noisy, 0.05, 3), resize.enlarge(noisy[None, None], 3)[0, 0]
    with torch.no_grad():
        torch.testing.assert_close(enlarged, network.eval().net(bicubic[None, None], torch.tensor(0.05))[0, 0])

    other = random_weights()
    save_weights(tmp_path / "n3net.safetensors", other.config, other.state, other.sigma_range, {})
    with pytest.raises(WeightsError, match="cannot enlarge images"):
        load_upscale(tmp_path / "n3net.safetensors", "cpu")
