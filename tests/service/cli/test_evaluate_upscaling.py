"""`n3denoise evaluate --task upscale`: its tables, its files and its errors."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.inference.upscaler import Upscaler
from models.upscaling_evaluation import evaluate_upscaling
from models.weights.files import save_weights
from service.__main__ import app
from tests.support.image_folders import gray_and_color
from tests.support.networks import random_upscaling_net


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gray_and_color(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def upscaling_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights, path = random_upscaling_net(1), tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(path, weights.config, weights.state, weights.sigma_range, {})
    return path


def test_tables_and_files(folder: Path, upscaling_file: Path, tmp_path: Path) -> None:
    table, out = tmp_path / "out.csv", tmp_path / "out.json"
    command = ["evaluate", "--task", "upscale", "--factor", "2", "4", str(folder), "--sigma", "0", "10"]
    options = ["--weights", str(upscaling_file), "--device", "cpu", "--dtype", "float32", "--csv", str(table), "--json", str(out)]
    done = CliRunner().invoke(app, [*command, *options], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    model = Upscaler.load(upscaling_file, "cpu", "float32")
    expected = [score for sigma in (0, 10) for score in evaluate_upscaling(model.upscale, folder, [2, 4], sigma)]
    content = json.loads(out.read_text())
    assert len(content["images"]) == 2 * 2 * 2
    assert [row["psnr"] for row in content["images"]] == [score.psnr for score in expected]
    assert {sigma: list(means) for sigma, means in content["mean"].items()} == {"0": ["2", "4"], "10": ["2", "4"]}
    mean = content["mean"]["10"]["4"]
    assert all(f"{mean[name]:.3f}" in done.stdout for name in ("psnr", "psnr_bicubic"))
    assert f"{mean['psnr'] - mean['psnr_bicubic']:.3f}" in done.stdout
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = ["folder", "image", "factor", "sigma", "psnr_bicubic", "psnr", "ssim_bicubic", "ssim", "seconds"]
    assert list(rows[0]) == names
    assert [float(row["ssim"]) for row in rows] == [score.ssim for score in expected]


def test_all_factors_without_noise_are_the_default(folder: Path, upscaling_file: Path, tmp_path: Path) -> None:
    command = ["evaluate", str(folder), "--task", "upscale", "--weights", str(upscaling_file), "--json", str(tmp_path / "out")]
    assert CliRunner().invoke(app, command).exit_code == 0
    means = json.loads((tmp_path / "out").read_text())["mean"]
    assert {sigma: list(mean) for sigma, mean in means.items()} == {"0": ["2", "3", "4"]}


def test_an_ensemble_is_measured_beside_the_network(folder: Path, upscaling_file: Path, tmp_path: Path) -> None:
    command = ["evaluate", str(folder), "--task", "upscale", "--factor", "2", "--ensemble", "--json", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*command, "--weights", str(upscaling_file)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    mean = json.loads((tmp_path / "out").read_text())["mean"]["0"]["2"]
    assert mean["psnr_ensemble"] != mean["psnr"]
    for figure in (mean["psnr_ensemble"], mean["psnr_ensemble"] - mean["psnr_bicubic"], mean["psnr"]):
        assert f"{figure:.3f}" in done.stdout
    assert f"{mean['ssim_ensemble']:.4f}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "upscale", "--color", "rgb"], "--task upscale"),
        (["--task", "upscale", "--seeds", "2"], "--task upscale"),
        (["--task", "upscale", "--model", "nlm"], "--task upscale"),
        (["--task", "upscale", "--weights", "n3unet"], "cannot enlarge images"),
        (["--task", "upscale", "--weights", "UPSCALE", "--factor", "5"], "one of 2, 3, 4"),
        (["--task", "upscale", "--weights", "UPSCALE", "--factor", "0"], "one of 2, 3, 4"),
        (["--factor", "2"], "--factor is for --task upscale"),
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, upscaling_file: Path, arguments: list[str], message: str) -> None:
    arguments = [str(upscaling_file) if argument == "UPSCALE" else argument for argument in arguments]
    done = CliRunner().invoke(app, ["evaluate", str(folder), *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert message in done.output
