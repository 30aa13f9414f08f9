"""The training set: packing, and crops."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.training.image_set import ImageSet


def unique_images() -> list[np.ndarray]:
    """Return two images of different shapes; no value occurs twice in an image."""
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


def test_color_crops_keep_their_channels_together(tmp_path: Path) -> None:
    gray = unique_images()
    images = [np.stack((image, 255 - image, image // 2), 2) for image in gray]
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    folder = ImageSet.read([tmp_path], 3)
    folder.save(tmp_path / "set.npz")
    for source in (folder, ImageSet.read([tmp_path / "set.npz"], 3)):
        crops = (source.crops(50, 8, torch.Generator().manual_seed(0)) * 255).round().int()
        assert torch.equal(crops[:, :1], (ImageSet(gray).crops(50, 8, torch.Generator().manual_seed(0)) * 255).round().int())
        assert torch.equal(crops[:, 1], 255 - crops[:, 0])
        assert torch.equal(crops[:, 2], crops[:, 0] // 2)
    with pytest.raises(ValueError, match=r"needs gray images, but those in .*npz are RGB"):
        ImageSet.read([tmp_path / "set.npz"])
    with pytest.raises(ValueError, match="partly gray and partly RGB"):
        ImageSet([gray[0], images[0]])


def test_refuses_what_is_no_packed_set(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a packed image set"):
        ImageSet.read([tmp_path / "x.npz"])
    with pytest.raises(ValueError, match="no images"):
        ImageSet.read([])
