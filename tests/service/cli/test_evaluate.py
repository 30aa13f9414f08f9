"""`n3denoise evaluate`: its tables, its JSON and its errors."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.evaluation import evaluate_folder
from models.images.files import image_files
from models.neighbors.nlm import NonLocalMeans
from service.__main__ import app
from tests.support.image_folders import gray_and_color


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
    ):
        done = CliRunner().invoke(app, ["evaluate", *arguments])
        assert done.exit_code == 2
        assert message in done.output.replace("\n", " ")


def test_another_method_can_be_evaluated(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    invoke(folder, "--sigma", 25, "--model", "nlm", "--json", out)
    expected = [score.psnr for score in evaluate_folder(NonLocalMeans(), folder, [25])]
    assert [row["psnr"] for row in json.loads(out.read_text())["images"]] == pytest.approx(expected)
