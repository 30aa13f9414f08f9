"""Handwritten digits: scikit-learn's, 8 x 8 pixels, or MNIST's from a folder of IDX files."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor


@dataclass(frozen=True)
class Digits:
    """Digits for training, and held-out digits: images (N, 1, S, S) in [0, 1] and labels (N,)."""

    images: Tensor
    labels: Tensor
    held_images: Tensor
    held_labels: Tensor

    @property
    def side(self) -> int:
        """Side of an image in pixels, S."""
        return self.images.shape[-1]


def load(folder: Path | None) -> Digits:
    """Read MNIST from a folder; without a folder, return scikit-learn's digits, with a third held out.

    Raises:
        ValueError: If a file is missing or is not an IDX file of bytes.
    """
    if folder is not None:
        read = [read_idx(folder, f"{part}-{kind}") for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
        images, labels, held_images, held_labels = (torch.from_numpy(array) for array in read)
        return Digits(images[:, None] / 255, labels.long(), held_images[:, None] / 255, held_labels.long())
    values, targets = load_digits(return_X_y=True)
    split = train_test_split(values, targets, test_size=1 / 3, random_state=0, stratify=targets)
    images, held_images = (torch.from_numpy(part).float().view(-1, 1, 8, 8) / 16 for part in split[:2])
    labels, held_labels = (torch.from_numpy(part).long() for part in split[2:])
    return Digits(images, labels, held_images, held_labels)


def read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """Read the IDX file `name`-ubyte, with or without gzip compression.

    An IDX file of bytes, as defined on LeCun's MNIST page, begins with two zeros, an 8, the number of dimensions, and the sizes
    as big-endian 32-bit integers.

    Raises:
        ValueError: If the file is missing or is not an IDX file of bytes.
    """
    path = next((p for p in (folder / f"{name}-ubyte", folder / f"{name}-ubyte.gz") if p.is_file()), None)
    if path is None:
        raise ValueError(f"{folder} holds no {name}-ubyte")
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of bytes")
    rank = content[3]
    head = 4 + 4 * rank
    shape = np.frombuffer(content[4:head].ljust(4 * rank, b"\0"), ">u4")
    if len(content) != head + int(shape.prod()):
        raise ValueError(f"{path} does not hold as much as its header says")
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape).copy()
