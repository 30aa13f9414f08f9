"""CMYK converted to sRGB, by the color profile of the picture if it has one."""

import io
import struct
from functools import cache

from PIL import Image, ImageCms

_CONVERTED, _GUESSED = "was-cmyk", "guessed-cmyk"
_LARGEST_PROFILE = 1 << 24
_TAG_TABLE = 128
# A tag of this type is a list of steps: each takes 8 bytes and costs 2 ms.
_PROGRAM = b"mpet"


def to_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, str]:
    """Return a CMYK image in sRGB, and the code of the conversion.

    The rendering intent is relative colorimetric with black point compensation, as in most programs for photographs.

    Args:
        image: The image.
        profile: Its ICC profile, or nothing.
    """
    if _is_simple(profile):
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.getOpenProfile(io.BytesIO(profile)),
                ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile())),
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                "RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except ImageCms.PyCMSError:
            converted = None
        if converted:
            return converted, _CONVERTED
    return image.convert("RGB"), _GUESSED


@cache
def srgb_profile() -> bytes:
    """Return an ICC profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _is_simple(profile: bytes) -> bool:
    """Tell whether there is a profile, and it is made of tables and curves only, which cost a bounded time."""
    if len(profile) > _LARGEST_PROFILE:
        return False
    try:
        (count,) = struct.unpack_from(">I", profile, _TAG_TABLE)
        starts = [struct.unpack_from(">I", profile, _TAG_TABLE + 8 + 12 * index)[0] for index in range(min(count, 1000))]
    except struct.error:
        return False
    return count <= len(starts) and not any(profile[start : start + 4] == _PROGRAM for start in starts)
