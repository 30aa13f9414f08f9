"""Image folders, the paper's gray, and crops."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.training.image_set import ImageSet, image_files, read_gray, read_gray8


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


def unique_images() -> list[np.ndarray]:
    """Two images of other shapes in which no value occurs twice."""
    return [np.arange(0, 12 * 10, dtype=np.uint8).reshape(12, 10), np.arange(120, 120 + 9 * 15, dtype=np.uint8).reshape(9, 15)]


def test_crops_are_symmetries_of_windows_and_reach_everything() -> None:
    images, side = unique_images(), 8
    crops = ImageSet(images).crops(4000, side, torch.Generator().manual_seed(0))
    assert crops.shape == (4000, 1, side, side)
    wanted: set[bytes] = set()
    for image in images:
        for y in range(image.shape[0] - side + 1):
            for x in range(image.shape[1] - side + 1):
                window = image[y : y + side, x : x + side]
                for turns in range(4):
                    turned = np.rot90(window, turns)
                    wanted |= {turned.tobytes(), np.fliplr(turned).tobytes()}
    got = {crop.tobytes() for crop in (crops[:, 0] * 255).round().to(torch.uint8).numpy()}
    assert got == wanted


def test_crops_follow_the_generator() -> None:
    images = ImageSet(unique_images())
    first, second = (images.crops(5, 6, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, second)


def test_refuses_crops_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="10 px do not fit: the smallest image has a side of 9 px"):
        ImageSet(unique_images()).crops(1, 10, torch.Generator())


def test_a_packed_set_is_the_folder(tmp_path: Path) -> None:
    for index, image in enumerate(unique_images()):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    folder = ImageSet.read([tmp_path])
    folder.save(tmp_path / "set.npz")
    packed = ImageSet.read([tmp_path / "set.npz"])
    for name in ("pixels", "heights", "widths", "starts"):
        assert torch.equal(getattr(packed, name), getattr(folder, name))
    assert len(ImageSet.read([tmp_path, tmp_path / "set.npz"])) == 4


def test_refuses_what_is_no_packed_set(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a packed image set"):
        ImageSet.read([tmp_path / "x.npz"])
    with pytest.raises(ValueError, match="no images"):
        ImageSet.read([])
