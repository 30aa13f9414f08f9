"""What is read from an image file before it becomes a picture."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from service.imaging.metadata import Exif


class Decoded(NamedTuple):
    """The contents of a file.

    Attributes:
        samples: (H, W, C) in the type of the file, alpha last.
        exif: The EXIF block; its orientation has not been applied to the samples.
        info: Further entries by Pillow's names: `icc_profile`, `dpi`.
        conversions: How the samples differ from those in the file: codes from `picture.CONVERSIONS`.
    """

    samples: NDArray[Any]
    exif: Exif
    info: Mapping[Any, Any]
    conversions: tuple[str, ...] = ()
