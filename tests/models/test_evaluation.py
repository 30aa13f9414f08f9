"""Evaluation: the table's protocol, the self-ensemble, the command and its JSON."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from models.evaluation import Score, evaluate_folder, mean_scores, report, self_ensemble
from models.images.files import image_files, read_gray
from models.images.metrics import psnr, ssim
from models.inference.denoiser import Denoiser
from models.neighbors.nlm import NonLocalMeans
from service.__main__ import app

View = Callable[[torch.Tensor], torch.Tensor]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (24, 31)), ("b.png", (40, 22, 3))):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path / name)
    return path


@pytest.fixture(scope="module")
def denoiser(weights: Path) -> Denoiser:
    return Denoiser.load(weights, "cpu", "float32")


def test_scores_follow_the_protocol(denoiser: Denoiser, folder: Path) -> None:
    scores = list(evaluate_folder(denoiser, folder, [25, 50], seeds=2))
    assert [(score.image, score.sigma, score.seed) for score in scores] == [
        (image, sigma, seed) for image in ("a.png", "b.png") for sigma in (25, 50) for seed in (0, 1)
    ]
    clean = read_gray(folder / "b.png")
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1 + 1))  # the seed plus the index in name order
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
    torch.testing.assert_close(self_ensemble(denoiser, noisy, 0.1), torch.stack(views).mean(0))


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


def invoke(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_prints_and_writes_one_folder(folder: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    text = invoke(folder, "--sigma", 25, 50, "--seeds", 2, "--weights", weights, "--device", "cpu", "--json", out)
    content = json.loads(out.read_text())
    assert set(content) == {"images", "mean"}
    assert len(content["images"]) == 2 * 2 * 2
    assert set(content["images"][0]) == {"image", "sigma", "seed", "psnr_noisy", "psnr", "ssim", "seconds"}
    assert set(content["mean"]) == {"25", "50"}
    assert set(content["mean"]["25"]) == {"psnr", "ssim", "seconds"}
    psnrs = [row["psnr"] for row in content["images"] if row["sigma"] == 25]
    assert content["mean"]["25"]["psnr"] == pytest.approx(sum(psnrs) / 4)
    assert f"{content['mean']['25']['psnr']:.3f}" in text
    assert "a.png" in text


def test_the_command_takes_several_folders_in_any_order(folder: Path, weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.png").write_bytes(image_files(folder)[0].read_bytes())
    out = tmp_path / "out.json"
    invoke("--sigma", "25", "7.5", folder, other, "--weights", weights, "--json", out, "--ensemble")
    content = json.loads(out.read_text())
    assert set(content["sets"]) == {str(folder), str(other)}
    assert set(content["sets"][str(other)]["mean"]) == {"25", "7.5"}
    assert "psnr_ensemble" in content["sets"][str(other)]["images"][0]


def test_the_command_says_what_is_wrong(folder: Path, weights: Path) -> None:
    for arguments, message in (
        ([str(folder), "--weights", "nothing"], "no weights"),
        ([str(folder / "no"), "--weights", str(weights)], "not a folder"),
        ([str(folder), "--weights", str(weights), "--sigma", "90"], "between 0 and 75"),
    ):
        done = CliRunner().invoke(app, ["evaluate", *arguments])
        assert done.exit_code == 2
        assert message in done.output.replace("\n", " ")


def test_another_method_can_be_evaluated(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    invoke(folder, "--sigma", 25, "--model", "nlm", "--json", out)
    expected = [score.psnr for score in evaluate_folder(NonLocalMeans(), folder, [25])]
    assert [row["psnr"] for row in json.loads(out.read_text())["images"]] == pytest.approx(expected)
