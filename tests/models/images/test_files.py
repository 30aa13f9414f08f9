"""Image folders, and the paper's gray."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.images.files import image_files, read_gray, read_gray8, read_rgb8


def test_lists_images_by_name_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.png", "A.JPG", "c.txt", "a.bmp"):
        (tmp_path / name).touch()
    assert [path.name for path in image_files(tmp_path)] == ["A.JPG", "a.bmp", "b.png"]


def test_refuses_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no image"):
        image_files(tmp_path)
    with pytest.raises(ValueError, match="not a folder"):
        image_files(tmp_path / "no")


def test_gray_is_the_papers_rounded_to_8_bits(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "x.png")
    expected = [[round(0.2989 * int(r) + 0.5870 * int(g) + 0.1140 * int(b)) for r, g, b in row] for row in rgb]
    assert read_gray8(tmp_path / "x.png").tolist() == expected
    image = read_gray(tmp_path / "x.png")
    assert image.dtype == torch.float32
    assert (image * 255).round().int().tolist() == expected


def test_rgb_is_read_as_it_is_and_gray_as_three_equal_channels(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "x.png")
    Image.fromarray(rgb[..., 0]).save(tmp_path / "y.png")
    assert np.array_equal(read_rgb8(tmp_path / "x.png"), rgb)
    assert np.array_equal(read_rgb8(tmp_path / "y.png"), rgb[..., :1].repeat(3, 2))
    Image.fromarray(rgb[..., 0].astype(np.uint16)).save(tmp_path / "z.png")
    with pytest.raises(ValueError, match="more than 8 bits per channel"):
        read_rgb8(tmp_path / "z.png")


def test_gray_files_are_taken_as_they_are(tmp_path: Path) -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(gray).save(tmp_path / "x.png")
    assert np.array_equal(read_gray8(tmp_path / "x.png"), gray)


def test_refuses_what_it_would_have_to_cut(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="more than 8 bits"):
        read_gray8(tmp_path / "deep.png")
    (tmp_path / "no.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        read_gray8(tmp_path / "no.png")
