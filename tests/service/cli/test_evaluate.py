"""`n3denoise evaluate`: its tables, its JSON and its errors."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from models.evaluation import evaluate_folder
from models.images.files import image_files
from models.images.metrics import psnr
from models.images.noise import noisy_planes
from models.neighbors.nlm import NonLocalMeans
from models.training.trainer import fresh_network
from models.weights.files import save_weights
from service.__main__ import app
from service.imaging import codec
from service.imaging.picture import DecodeLimits, Picture
from tests.support.image_folders import gray_and_color
from tests.support.training import TINY


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gray_and_color(tmp_path_factory.mktemp("set"))


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
        ([str(folder), "--weights", str(weights), "--model", "n3net"], "cannot replace those of n3net"),
    ):
        done = CliRunner().invoke(app, ["evaluate", *arguments])
        assert done.exit_code == 2
        assert message in done.output.replace("\n", " ")


def test_another_method_can_be_evaluated(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    invoke(folder, "--sigma", 25, "--model", "nlm", "--json", out)
    expected = [score.psnr for score in evaluate_folder(NonLocalMeans(), folder, [25])]
    assert [row["psnr"] for row in json.loads(out.read_text())["images"]] == pytest.approx(expected)


def test_weights_for_one_noise_level_are_evaluated_at_it(folder: Path, tmp_path: Path) -> None:
    single, out = tmp_path / "single.safetensors", tmp_path / "out.json"
    save_weights(single, TINY, fresh_network(TINY.build, seed=5).state_dict(), (30, 30), {})
    invoke(folder, "--weights", single, "--json", out)
    assert set(json.loads(out.read_text())["mean"]) == {"30"}


def test_color_has_noise_in_every_channel_and_goes_through_the_pipeline_of_denoise(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    invoke(folder, "--sigma", 25, "--model", "nlm", "--color", "rgb", "--ensemble", "--json", out)
    gray, color = json.loads(out.read_text())["images"]
    (expected, _) = evaluate_folder(NonLocalMeans(), folder, [25])
    assert gray["psnr"] == pytest.approx(expected.psnr, abs=1e-4), "a gray picture has the figures of the paper's protocol"
    assert gray["psnr_noisy"] == pytest.approx(expected.psnr_noisy, abs=1e-4)

    clean = np.asarray(Image.open(folder / "b.png"), np.float32).transpose(2, 0, 1) / np.float32(255)
    noisy = noisy_planes(clean, 25 / 255, 0 + 1)
    assert color["psnr_noisy"] == pytest.approx(psnr(noisy, clean), abs=1e-4)
    as_file = Picture(noisy, rgb=True, depth="float", format="tiff")
    source, result = tmp_path / "noisy.tif", tmp_path / "denoised.tif"
    source.write_bytes(codec.encode(as_file))
    done = CliRunner().invoke(app, ["denoise", str(source), "-o", str(result), "--sigma", "25", "--model", "nlm"])
    assert done.exit_code == 0, done.output
    denoised = codec.decode(result.read_bytes(), DecodeLimits()).planes
    assert color["psnr"] == pytest.approx(psnr(denoised, clean), abs=1e-3)
    assert color["psnr_ensemble"] != color["psnr"]


@pytest.mark.parametrize("option", ["--json", "--csv"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(option: str, folder: Path, tmp_path: Path) -> None:
    for target in (tmp_path, tmp_path / "absent" / "out"):
        done = CliRunner().invoke(app, ["evaluate", str(folder), "--model", "nlm", option, str(target)])
        assert done.exit_code == 2
        assert str(target) in done.stderr
        assert not done.stdout


def test_json_and_csv_need_a_file_each(folder: Path, tmp_path: Path) -> None:
    both = ["--json", str(tmp_path / "out"), "--csv", f"{tmp_path}/./out"]
    done = CliRunner().invoke(app, ["evaluate", str(folder), "--model", "nlm", *both])
    assert done.exit_code == 2
    assert "same file" in done.stderr


def test_a_file_that_cannot_be_read_in_color_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"nothing")
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path), "--color", "rgb", "--model", "nlm"])
    assert done.exit_code == 2
    assert "bad.png" in done.output


def test_the_results_as_csv(folder: Path, tmp_path: Path) -> None:
    table, out = tmp_path / "out.csv", tmp_path / "out.json"
    invoke(folder, "--sigma", 25, 50, "--model", "nlm", "--csv", table, "--json", out)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["folder", "image", "sigma", "seed", "psnr_noisy", "psnr", "ssim", "seconds"]
    expected = json.loads(out.read_text())["images"]
    assert [float(row["psnr"]) for row in rows] == [row["psnr"] for row in expected]
    assert {row["folder"] for row in rows} == {str(folder)}
