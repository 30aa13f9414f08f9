"""`n3denoise upscale`: files, folders and standard input, what it writes, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from typer.testing import CliRunner

from models.images import color
from models.images.resize import enlarge_planes
from models.inference.upscaler import Upscaler
from models.weights.files import save_weights
from service.__main__ import app
from tests.support.networks import random_upscaling_net


@pytest.fixture(scope="module")
def upscaling_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return weights whose result differs visibly from the bicubic one, but stays between black and white."""
    weights, path = random_upscaling_net(1), tmp_path_factory.mktemp("weights") / "small.safetensors"
    state = {name: value * (0.05 if name.startswith("heads") else 1) for name, value in weights.state.items()}
    save_weights(path, weights.config, state, weights.sigma_range, {})
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder with a gray picture, a color picture in a folder below it, and a file that is no picture."""
    folder = tmp_path / "in"
    (folder / "below").mkdir(parents=True)
    Image.fromarray(gray()).save(folder / "gray.png")
    Image.fromarray(rgb()).save(folder / "below" / "color.webp", lossless=True)
    (folder / "bad.png").write_bytes(b"nothing")
    return folder


def gray() -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = data.camera()[100:124, 100:130] // 2 + 64
    return pixels


def rgb() -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = data.astronaut()[100:122, 100:131] // 2 + 64
    return pixels


def upscale(weights: Path, *arguments: object, code: int = 0, given: bytes | None = None) -> str:
    options = ["--weights", str(weights), "--device", "cpu", "--dtype", "float32"]
    done = CliRunner().invoke(app, ["upscale", *map(str, arguments), *options], env={"COLUMNS": "200"}, input=given)
    assert done.exit_code == code, done.output
    return done.output


def test_an_ensemble_differs_from_one_pass(upscaling_file: Path, pictures: Path, tmp_path: Path) -> None:
    results = []
    for name, options in (("plain.png", []), ("mean.png", ["--ensemble"])):
        upscale(upscaling_file, pictures / "gray.png", "-o", tmp_path / name, *options)
        results.append(np.asarray(Image.open(tmp_path / name), np.float32))
    assert results[0].shape == results[1].shape
    assert 0 < np.abs(results[0] - results[1]).max() < 40


def test_a_folder_is_enlarged_and_the_bad_file_is_reported_at_the_end(upscaling_file: Path, pictures: Path) -> None:
    out = pictures.parent / "out"
    told = upscale(upscaling_file, pictures, "-o", out, "--factor", 3, code=1)
    assert f"FAILED {pictures / 'bad.png'}" in told
    assert "2 of 3 done" in told
    assert "93 x 66" in told
    model = Upscaler.load(upscaling_file, "cpu", "float32")
    plane = torch.from_numpy(gray().astype(np.float32) / 255)
    expected = model.upscale(plane, 0.0, 3).numpy().clip(0, 1) * 255
    bicubic = enlarge_planes(plane[None].numpy(), 3)[0] * 255
    assert abs(expected - bicubic).max() > 5, "the network does nothing that a test could see"
    assert abs(np.asarray(Image.open(out / "gray.png"), np.float32) - expected).max() <= 0.51

    planes = rgb().transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    luma, *differences = color.separate(planes)
    enlarged = [model.upscale(torch.from_numpy(luma), 0.0, 3).numpy(), *enlarge_planes(np.stack(differences), 3)]
    expected = color.merge(np.stack(enlarged)).clip(0, 1).transpose(1, 2, 0) * 255
    assert abs(np.asarray(Image.open(out / "below" / "color.webp"), np.float32) - expected).max() <= 0.51


def test_one_file_in_another_format_depth_and_size(upscaling_file: Path, pictures: Path, tmp_path: Path) -> None:
    target = tmp_path / "large.tif"
    upscale(upscaling_file, pictures / "gray.png", "-o", target, "--depth", "16", "--sigma", 10)
    with Image.open(target) as image:
        assert (image.size, image.mode, image.format) == ((60, 48), "I;16", "TIFF")
        pixels = np.asarray(image, np.float32) / 65535
    plane = torch.from_numpy(gray().astype(np.float32) / 255)
    expected = Upscaler.load(upscaling_file, "cpu", "float32").upscale(plane, 10 / 255, 2).numpy()
    assert abs(pixels - expected.clip(0, 1)).max() < 1e-4
    assert "exists" in upscale(upscaling_file, pictures / "gray.png", "-o", target, code=1)
    upscale(upscaling_file, pictures / "gray.png", "-o", target, "--force")


def test_the_noise_can_be_estimated(upscaling_file: Path, tmp_path: Path) -> None:
    clean = data.camera()[:96, :96].astype(np.float32) / 2 + 64
    noisy = clean + 10 * np.random.default_rng(0).standard_normal(clean.shape)
    Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8)).save(tmp_path / "noisy.png")
    told = upscale(upscaling_file, tmp_path / "noisy.png", "-o", tmp_path / "out", "--sigma", "auto")
    sigma = float(told.split("sigma ")[1].split(",")[0])
    assert 8 < sigma < 12
    assert "estimated with confidence" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--factor", "5"], "--factor"),
        (["--sigma", "30"], "between 0 and 25"),
        (["--sigma", "much"], "or auto"),
        (["--format", "gif"], "must be one of"),
        (["--weights", "n3unet"], "cannot enlarge images"),
        (["--weights", "absent"], "no weights 'absent'"),
    ],
)
def test_what_does_not_fit_is_refused(upscaling_file: Path, pictures: Path, arguments: list[str], message: str) -> None:
    command = ["upscale", str(pictures), "-o", str(pictures.parent / "out"), "--weights", str(upscaling_file), *arguments]
    done = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert message in done.output
    assert not (pictures.parent / "out").exists()
