"""The result of a background job, in the form in which stores keep it: one computation, any number of files."""

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from models.images.resize import enlarge_planes
from service.denoising.job import PictureResult
from service.imaging import codec
from service.imaging.alpha import without_hidden_colors
from service.imaging.picture import DecodeLimits, Depth, Format, Header, Metadata, Picture

_WHITE = 65535
_NO_PLANES = np.empty((0, 0, 0), np.float32)
LEAST_BYTES = 16_384
"""Bytes that a job counts at least, so that the bound in bytes also bounds the number of jobs."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """A denoised or enlarged picture from which files of every format can be written.

    Samples of a picture that came with 8 or 16 bits are rounded to 16 bits. This changes no 8-bit file, because 65535 is
    257 x 255: a sample and its rounded value always round to the same of 255 steps.

    Attributes:
        file: The file that the job's options ask for.
        file_format: Its format.
        samples: (C, H, W), 16-bit integers, or 32-bit floats for a float picture.
        alpha: (H, W) of the same type, or None.
        description: The other attributes of the picture, with the metadata that the job's options ask for.
        image: The image file that was denoised or enlarged.
        gray: Whether it was converted to gray.
        factor: The factor by which it was enlarged.
    """

    file: bytes
    file_format: Format
    samples: NDArray[Any]
    alpha: NDArray[Any] | None
    description: Picture
    image: bytes
    gray: bool
    factor: int = 1

    @classmethod
    def of(cls, result: PictureResult, image: bytes, *, gray: bool, factor: int = 1) -> "JobResult":
        """Take over what a job returned."""
        picture = result.picture
        packed = (lambda plane: plane) if picture.depth == "float" else _packed
        alpha = None if picture.alpha is None else packed(picture.alpha)
        description = replace(picture, planes=_NO_PLANES, alpha=None)
        return cls(result.file, result.file_format, packed(picture.planes), alpha, description, image, gray, factor)

    @property
    def size(self) -> int:
        """Size in memory, in bytes."""
        alpha = 0 if self.alpha is None else self.alpha.nbytes
        return LEAST_BYTES + len(self.file) + self.samples.nbytes + alpha + len(self.image)

    def write(self, file_format: Format, depth: Depth | None, strength: float, limits: DecodeLimits) -> bytes:
        """Encode the picture.

        Args:
            file_format: Format of the file.
            depth: Its depth; None keeps that of the input as far as the format can hold it.
            strength: Blend of the input (0), enlarged bicubically to the size of the result, and the result (1).
            limits: What to accept when the input is decoded again.

        Raises:
            ServiceError: If the format cannot hold the picture.
        """
        alpha = None if self.alpha is None else _unpacked(self.alpha)
        picture = replace(self.description, planes=_unpacked(self.samples), alpha=alpha)
        codec.output_form(picture, file_format, depth)
        if strength < 1:
            noisy = codec.decode(self.image, limits)
            before = (codec.to_gray(noisy) if self.gray else noisy).planes
            if self.factor > 1:
                before = enlarge_planes(without_hidden_colors(noisy).planes, self.factor)
            planes = before + np.float32(strength) * (picture.planes - before)
            picture = replace(picture, planes=planes)
        return codec.encode(picture, file_format, depth)

    def dump(self) -> bytes:
        """Return the result as bytes, for stores outside the process."""
        picture, metadata = self.description, self.description.metadata
        arrays = {"samples": self.samples, "file": _bytes(self.file), "image": _bytes(self.image)}
        arrays |= {"exif": _bytes(metadata.exif), "icc": _bytes(metadata.icc)}
        if self.alpha is not None:
            arrays["alpha"] = self.alpha
        facts: dict[str, Any] = {
            "file_format": self.file_format,
            "gray": self.gray,
            "factor": self.factor,
            "dpi": metadata.dpi,
            "software": metadata.software,
        }
        facts |= {"rgb": picture.rgb, "format": picture.format, "depth": picture.depth, "conversions": picture.conversions}
        arrays["facts"] = _bytes(json.dumps(facts).encode())
        return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})

    @classmethod
    def load(cls, data: bytes) -> "JobResult":
        """Read what `dump` returned."""
        arrays = load(data)
        facts = json.loads(arrays["facts"].tobytes())
        dpi = facts["dpi"] and (facts["dpi"][0], facts["dpi"][1])
        description = Picture(
            _NO_PLANES,
            rgb=facts["rgb"],
            format=facts["format"],
            depth=facts["depth"],
            metadata=Metadata(arrays["exif"].tobytes(), arrays["icc"].tobytes(), dpi, facts["software"]),
            conversions=tuple(facts["conversions"]),
        )
        file, image = arrays["file"].tobytes(), arrays["image"].tobytes()
        samples, alpha = arrays["samples"], arrays.get("alpha")
        return cls(file, facts["file_format"], samples, alpha, description, image, facts["gray"], facts["factor"])


def reserved_bytes(header: Header, image: bytes, depth: Depth | None, *, gray: bool) -> int:
    """Return how many bytes the result of a job may take at most, apart from what compression may add.

    Args:
        header: A header with the size of the result.
        image: The image file that the job takes.
        depth: Depth of the file that the job's options ask for; None for that of the image.
        gray: Whether the job converts color to gray.
    """
    channels = (1 if gray and header.rgb else header.channels) + header.alpha
    kept = 4 if header.depth == "float" else 2
    written = {"8": 1, "16": 2, "float": 4}[depth or header.depth]
    return LEAST_BYTES + len(image) + header.pixels * channels * (kept + written)


def _packed(plane: NDArray[np.float32]) -> NDArray[np.uint16]:
    packed = np.empty(plane.shape, np.uint16)
    for row, out in zip(plane.reshape(-1, plane.shape[-1]), packed.reshape(-1, plane.shape[-1]), strict=True):
        out[:] = np.rint(row.clip(0, 1) * _WHITE)  # by rows, to save memory
    return packed


def _unpacked(samples: NDArray[Any]) -> NDArray[np.float32]:
    return samples if samples.dtype == np.float32 else np.asarray(samples / np.float32(_WHITE))


def _bytes(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)
