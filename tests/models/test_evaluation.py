"""Evaluation: the protocol of the table, the self-ensemble, and the report."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.evaluation import Score, evaluate_folder, mean_scores, report
from models.images.files import read_gray
from models.images.metrics import psnr, ssim
from models.images.self_ensemble import self_ensemble
from models.inference.denoiser import Denoiser
from tests.support.image_folders import gray_and_color

View = Callable[[torch.Tensor], torch.Tensor]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gray_and_color(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def denoiser(weights: Path) -> Denoiser:
    return Denoiser.load(weights, "cpu", "float32")


def test_scores_follow_the_protocol(denoiser: Denoiser, folder: Path) -> None:
    scores = list(evaluate_folder(denoiser, folder, [25, 50], seeds=2))
    assert [(score.image, score.sigma, score.seed) for score in scores] == [
        (image, sigma, seed) for image in ("a.png", "b.png") for sigma in (25, 50) for seed in (0, 1)
    ]
    clean = read_gray(folder / "b.png")
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1 + 1))  # seed plus index in name order
    noisy = clean + 50 / 255 * noise
    denoised = denoiser.denoise(noisy, 50 / 255)
    last = scores[-1]
    assert last.psnr_noisy == pytest.approx(psnr(noisy, clean))
    assert last.psnr == pytest.approx(psnr(denoised, clean))
    assert last.ssim == pytest.approx(ssim(denoised, clean))
    assert last.seconds > 0
    assert last.psnr_ensemble is None


def test_the_ensemble_averages_eight_views_turned_back(denoiser: Denoiser) -> None:
    noisy = torch.rand(24, 31)
    symmetries: tuple[tuple[View, View], ...] = (
        (lambda x: x, lambda x: x),
        (lambda x: x.flip(0), lambda x: x.flip(0)),
        (lambda x: x.flip(1), lambda x: x.flip(1)),
        (lambda x: x.flip(0, 1), lambda x: x.flip(0, 1)),
        (lambda x: x.T, lambda x: x.T),
        (lambda x: x.T.flip(0), lambda x: x.flip(0).T),
        (lambda x: x.T.flip(1), lambda x: x.flip(1).T),
        (lambda x: x.T.flip(0, 1), lambda x: x.flip(0, 1).T),
    )
    views = [back(denoiser.denoise(view(noisy).contiguous(), 0.1)) for view, back in symmetries]
    torch.testing.assert_close(self_ensemble(lambda view: denoiser.denoise(view, 0.1), noisy), torch.stack(views).mean(0))


def test_ensemble_scores_stand_beside_the_plain_ones(denoiser: Denoiser, folder: Path) -> None:
    plain, both = (list(evaluate_folder(denoiser, folder, [25], ensemble=ensemble)) for ensemble in (False, True))
    assert [score.psnr for score in plain] == [score.psnr for score in both]
    assert all(score.psnr_ensemble is not None and score.psnr_ensemble != score.psnr for score in both)
    assert set(mean_scores(both)[25]) == {"psnr", "ssim", "seconds", "psnr_ensemble", "ssim_ensemble"}


def test_refuses_a_noise_level_before_any_work(denoiser: Denoiser, folder: Path) -> None:
    with pytest.raises(ValueError, match="between 0 and 75"):
        next(evaluate_folder(denoiser, folder, [25, 80]))


def test_means_and_numbers_that_json_cannot_say() -> None:
    scores = [Score("a", 0, 0, math.inf, 40.0, 0.9, 1.0), Score("b", 0, 0, math.inf, 44.0, 0.7, 2.0)]
    assert mean_scores(scores) == {0: {"psnr": 42.0, "ssim": pytest.approx(0.8), "seconds": 1.5}}
    content = json.loads(json.dumps(report(scores), allow_nan=False))
    assert content["images"][0] == {
        "image": "a",
        "sigma": 0,
        "seed": 0,
        "psnr_noisy": None,
        "psnr": 40.0,
        "ssim": 0.9,
        "seconds": 1.0,
    }
