"""`n3denoise denoise --noise poisson`."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from typer.testing import CliRunner, Result

from service.__main__ import app

PEAK = 40  # photo-electrons at white


def denoise(*arguments: object) -> Result:
    """Run the command with the fastest model."""
    return CliRunner().invoke(app, ["denoise", *map(str, arguments), "--model", "nlm"])


def light() -> NDArray[np.float64]:
    return np.asarray(data.camera()[40:200, 160:320] / 255.0) ** 2.2


def noisy(folder: Path, channels: int = 1) -> Path:
    counts = np.random.default_rng(0).poisson(light() * PEAK) / PEAK
    pixels = np.rint(255 * counts.clip(0, 1)).astype(np.uint8)
    path = folder / "noisy.png"
    Image.fromarray(pixels if channels == 1 else np.stack([pixels, pixels, pixels[::-1]], 2)).save(path)
    return path


def error(path: Path) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(Image.open(path)) / 255 - light()))))


def test_gain_and_read_noise_can_be_given_or_estimated(tmp_path: Path) -> None:
    source = noisy(tmp_path)
    for name, options in (("given", ["--gain", 255 / PEAK, "--read-noise", 0]), ("auto", [])):
        done = denoise(source, "-o", tmp_path / f"{name}.png", "--noise", "poisson", *options)
        assert done.exit_code == 0, done.output
        assert error(tmp_path / f"{name}.png") < 0.6 * error(source)
        line = " ".join(done.output.split())
        assert ("gain 6.38, read noise 0, offset 0" in line) == (name == "given")
        assert ("estimated with confidence" in line) == (name == "auto")
        assert "gain " in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--noise", "poisson", "--sigma", 20], "give gain and read_noise instead of sigma"),
        (["--gain", 1], "require noise=poisson"),
        (["--noise", "poisson", "--gain", 0], "gain must be from"),
        (["--noise", "poisson", "--gain", "big"], "must be a number of at least 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: list[object], words: str) -> None:
    done = denoise(noisy(tmp_path), "-o", tmp_path / "out.png", *options)
    assert done.exit_code == 2
    assert words in " ".join(done.output.replace("│", " ").split())
    assert not (tmp_path / "out.png").exists()


def test_color_is_refused_unless_it_is_converted(tmp_path: Path) -> None:
    source = noisy(tmp_path, channels=3)
    done = denoise(source, "-o", tmp_path / "out.png", "--noise", "poisson")
    assert done.exit_code == 1
    assert "requires a gray picture" in " ".join(done.output.split())
    done = denoise(source, "-o", tmp_path / "out.png", "--noise", "poisson", "--color", "gray")
    assert done.exit_code == 0, done.output
