"""`n3denoise denoise`: color stays color, and one file can have a name of its own."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from models.images.color import separate
from service.__main__ import app


def denoise(*arguments: object) -> Result:
    """Run the command with the fastest model."""
    return CliRunner().invoke(app, ["denoise", *map(str, arguments), "--model", "nlm", "--sigma", "20"])


def picture(channels: int = 1) -> NDArray[np.uint8]:
    shape = (24, 31) if channels == 1 else (24, 31, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def test_color_stays_color_and_gray_stays_gray(tmp_path: Path) -> None:
    color, gray = save(tmp_path / "color.png", picture(3)), save(tmp_path / "gray.png", picture())
    scan = save(tmp_path / "scan.png", picture()[..., None].repeat(3, axis=2))
    done = denoise(color, gray, scan, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert [opened(tmp_path / "out" / name).mode for name in ("color.png", "gray.png", "scan.png")] == ["RGB", "L", "L"]
    one, other = (np.asarray(opened(tmp_path / "out" / name)) for name in ("gray.png", "scan.png"))
    assert np.array_equal(one, other), "a gray picture in a color file is denoised as a gray picture"


@pytest.mark.parametrize(("color", "modes"), [("gray", ["L", "L"]), ("rgb", ["RGB", "RGB"])])
def test_color_can_be_chosen(color: str, modes: list[str], tmp_path: Path) -> None:
    inputs = [save(tmp_path / "a.png", picture(3)), save(tmp_path / "b.png", picture()[..., None].repeat(3, axis=2))]
    assert denoise(*inputs, "-o", tmp_path / "out", "--color", color).exit_code == 0
    assert [opened(tmp_path / "out" / path.name).mode for path in inputs] == modes


def test_one_file_can_have_a_name_of_its_own(tmp_path: Path) -> None:
    source = save(tmp_path / "noisy.png", picture())
    done = denoise(source, "-o", tmp_path / "new" / "result.png")
    assert done.exit_code == 0, done.output
    assert opened(tmp_path / "new" / "result.png").format == "PNG"
    assert (tmp_path / "new" / "result.png").is_file()
    again = denoise(source, "-o", tmp_path / "new" / "result.png")
    assert again.exit_code == 1
    assert "--force" in again.output
    assert denoise(source, "-o", tmp_path / "new" / "result.png", "--force").exit_code == 0


def test_the_suffix_of_the_result_chooses_its_format(tmp_path: Path) -> None:
    source = save(tmp_path / "noisy.png", picture())
    for name, file_format in (("a.jpeg", "JPEG"), ("b.TIF", "TIFF"), ("c.webp", "WEBP")):
        done = denoise(source, "-o", tmp_path / name)
        assert done.exit_code == 0, done.output
        assert opened(tmp_path / name).format == file_format
    wrong = denoise(source, "-o", tmp_path / "d.png", "--format", "jpeg")
    assert wrong.exit_code == 2
    assert "--format" in wrong.output


@pytest.mark.parametrize(("name", "suffix"), [("jpg", ".jpg"), ("jpeg", ".jpg"), ("tif", ".tif"), ("tiff", ".tif")])
def test_formats_have_the_aliases_of_the_api(name: str, suffix: str, tmp_path: Path) -> None:
    done = denoise(save(tmp_path / "noisy.png", picture()), "-o", tmp_path / "out", "--format", name)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / f"noisy{suffix}").is_file()


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    done = denoise(save(tmp_path / "noisy.png", picture()), "-o", tmp_path / "out", "--format", "gif")
    assert done.exit_code == 2
    assert "png, jpeg, webp, avif, tiff, bmp, jpg, tif" in " ".join(done.output.replace("│", " ").split())


def test_an_output_file_of_another_format_is_refused(tmp_path: Path) -> None:
    source = save(tmp_path / "noisy.png", picture())
    for name in ("q.gif", "q.GIF", "q.svg"):
        done = denoise(source, "-o", tmp_path / name)
        assert done.exit_code == 2
        assert "names a format that cannot be written" in " ".join(done.output.replace("│", " ").split())
        assert not (tmp_path / name).exists()
    assert denoise(source, "-o", tmp_path / "version.2").exit_code == 0
    assert (tmp_path / "version.2" / "noisy.png").is_file()


def test_an_existing_folder_is_a_folder_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "out.png").mkdir()
    assert denoise(save(tmp_path / "noisy.png", picture()), "-o", tmp_path / "out.png").exit_code == 0
    assert (tmp_path / "out.png" / "noisy.png").is_file()


def test_one_name_for_several_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = save(tmp_path / "in" / "noisy.png", picture())
    for inputs in ([source, source], [tmp_path / "in"]):
        done = denoise(*inputs, "-o", tmp_path / "result.png")
        assert done.exit_code == 2
        assert "names one file, but there are several inputs" in " ".join(done.output.replace("│", " ").split())
        assert not (tmp_path / "result.png").exists()


def test_luma_and_color_have_strengths_of_their_own(tmp_path: Path) -> None:
    source = save(tmp_path / "noisy.png", picture(3))

    def result(*options: object) -> NDArray[np.float32]:
        done = denoise(source, "-o", tmp_path / "result.png", "--force", *options)
        assert done.exit_code == 0, done.output
        return separate(np.asarray(opened(tmp_path / "result.png"), np.float32).transpose(2, 0, 1))

    noisy, whole = separate(picture(3).astype(np.float32).transpose(2, 0, 1)), result()
    for luma, chroma in ((1, 0), (0, 1)):
        strengths = np.array([luma, chroma, chroma])[:, None, None]
        change = result("--luma-strength", luma, "--chroma-strength", chroma) - noisy
        assert abs(change - strengths * (whole - noisy)).mean() < 1, "but for rounding and clipping"


def test_detail_gives_back_some_of_the_difference(tmp_path: Path) -> None:
    y, x = np.mgrid[0:64, 0:64]
    texture = np.rint(128 + 20 * np.sin(x) + 20 * np.sin(y / 2) + np.random.default_rng(0).normal(0, 20, x.shape))
    source = save(tmp_path / "noisy.png", texture.clip(0, 255).astype(np.uint8))
    changes = []
    for detail in (0, 1):
        assert denoise(source, "-o", tmp_path / "out", "--force", "--detail", detail).exit_code == 0
        change = np.asarray(opened(tmp_path / "out" / "noisy.png"), np.float64) - np.asarray(opened(source), np.float64)
        changes.append(change.std())
    assert changes[1] < changes[0]


def test_a_mask_says_where_to_denoise(tmp_path: Path) -> None:
    source, levels = save(tmp_path / "noisy.png", picture()), np.zeros((24, 31), np.uint8)
    levels[:12] = 255
    mask = save(tmp_path / "mask.png", levels)
    for target, options in (("whole.png", ()), ("part.png", ("--mask", mask))):
        done = denoise(source, "-o", tmp_path / target, *options)
        assert done.exit_code == 0, done.output
    whole, part = (np.asarray(opened(tmp_path / name)) for name in ("whole.png", "part.png"))
    assert np.array_equal(part[:12], whole[:12])
    assert np.array_equal(part[12:], picture()[12:])


def test_a_mask_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    source, mask = save(tmp_path / "noisy.png", picture()), save(tmp_path / "mask.png", picture()[1:])
    done = denoise(source, "-o", tmp_path / "out", "--mask", mask)
    assert done.exit_code == 1
    assert "31 x 23 pixels, and the image 31 x 24" in " ".join(done.output.split())
    for inputs in ([source, mask], [tmp_path]):
        done = denoise(*inputs, "-o", tmp_path / "out", "--mask", mask)
        assert done.exit_code == 2
        assert "one input file" in " ".join(done.output.replace("│", " ").split())
    assert denoise(source, "-o", tmp_path / "out", "--mask", tmp_path / "missing.png").exit_code == 2


@pytest.mark.parametrize("model", ["n3net", "nlm"])
def test_weights_together_with_a_model_that_has_its_own_are_an_error(weights: Path, tmp_path: Path, model: str) -> None:
    source = save(tmp_path / "noisy.png", picture())
    command = ["denoise", str(source), "-o", str(tmp_path / "out"), "--sigma", "25", "--weights", str(weights)]
    done = CliRunner().invoke(app, [*command, "--model", model])
    assert done.exit_code == 2
    assert f"cannot replace those of {model}, only those of the default model, n3unet" in done.output
    assert not (tmp_path / "out").exists()
    for allowed in ("auto", "n3unet"):
        done = CliRunner().invoke(app, [*command, "--force", "--model", allowed])
        assert done.exit_code == 0, done.output
