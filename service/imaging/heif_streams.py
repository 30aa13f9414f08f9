"""The coded data of one image in an AVIF or HEIC file, checked before a decoder sees it.

A decoder allocates what the data itself says, whatever the file says about its size, and decodes every frame in the data although
only one is shown. So a small file could fill the memory or keep a decoder busy for minutes.
"""

from collections.abc import Iterator

from service.errors import UndecodableImage, UnsupportedMode

_DAMAGED = "The file is damaged or truncated."
_MOST_UNITS = 1000  # encoders write fewer than ten
_ONE_FRAME = "Send a single frame in AVIF and HEIC files."
# The units of AV1 data (OBU)
_SEQUENCE, _FRAME_HEADER, _REDUNDANT_HEADER, _FRAME, _TILE_LIST = 1, 3, 7, 6, 8
# The units of HEVC data (NAL)
_FIRST_PARAMETERS, _SPS = 32, 33
# Slices may overlap, and each costs as much as the rest of the picture: 16 on 40 megapixels cost 3 seconds of computing.
MOST_SLICES = 16
_LARGEST_BLOCK = 64  # the coded size is a multiple of at most this
_CROPPED = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}  # chroma format: units of the cropping in pixels


def check_av1(data: bytes, width: int, height: int) -> None:
    """Check that AV1 data holds one frame of a size.

    Raises:
        UnsupportedMode: If it holds several frames, or frames whose size is not that of the sequence.
        UndecodableImage: If it has another size, or is damaged.
    """
    frames = 0
    for kind, content in _av1_units(data):
        if kind == _SEQUENCE:
            _check_sequence(_Bits(content), width, height)
        frames += kind in (_FRAME_HEADER, _FRAME)
        if frames > 1 or kind in (_REDUNDANT_HEADER, _TILE_LIST):
            raise UnsupportedMode(_ONE_FRAME)
    if not frames:
        raise UndecodableImage(_DAMAGED)


def check_hevc(configuration: bytes, data: bytes, width: int, height: int) -> None:
    """Check that HEVC data holds one picture of a size.

    Args:
        configuration: The property hvcC, which holds the parameters of the picture.
        data: The data of the image.
        width: Width of the image in pixels.
        height: Height of the image in pixels.

    Raises:
        UnsupportedMode: If it holds several pictures, too many slices, or lengths of other than four bytes.
        UndecodableImage: If it has another size, or is damaged.
    """
    sizes = pictures = slices = 0
    for count, unit in enumerate(_hevc_units(configuration, data)):
        if count > _MOST_UNITS:
            raise UnsupportedMode(f"The limit is {_MOST_UNITS} units of data in an image of a HEIC file.")
        if len(unit) < 3:
            raise UndecodableImage(_DAMAGED)
        kind = unit[0] >> 1 & 63
        if kind == _SPS:
            sizes += 1
            _check_parameters(_Bits(unit[2:].replace(b"\0\0\3", b"\0\0")), width, height)
        if kind < _FIRST_PARAMETERS:
            slices += 1
            pictures += unit[2] >> 7  # the first slice of a picture
    if pictures > 1:
        raise UnsupportedMode(_ONE_FRAME)
    if slices > MOST_SLICES:
        raise UnsupportedMode(f"The limit is {MOST_SLICES} slices in an image of a HEIC file.")
    if not sizes or not pictures:
        raise UndecodableImage(_DAMAGED)


class _Bits:
    """Reads numbers of a few bits one after another."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data[:512], 0  # what is read here comes early

    def number(self, count: int) -> int:
        end = self._position + count
        if end > 8 * len(self._data):
            raise UndecodableImage(_DAMAGED)
        value = int.from_bytes(self._data[self._position >> 3 : -(-end // 8)], "big") >> (-end % 8)
        self._position = end
        return value & (1 << count) - 1

    def exponential(self) -> int:
        """Read an Exp-Golomb number."""
        zeros = 0
        while not self.number(1):
            zeros += 1
            if zeros > 31:
                raise UndecodableImage(_DAMAGED)
        return (1 << zeros) - 1 + self.number(zeros)


def _av1_units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the content of each unit."""
    position = 0
    for _ in range(_MOST_UNITS):
        if position == len(data):
            return
        head = data[position]
        position += 2 if head & 4 else 1
        size, more = len(data) - position, bool(head & 2)
        if more:
            size = shift = 0
            while more and shift < 56 and position < len(data):
                size |= (data[position] & 127) << shift
                more = data[position] > 127
                position, shift = position + 1, shift + 7
        if more or size < 0 or position + size > len(data):
            raise UndecodableImage(_DAMAGED)
        yield head >> 3 & 15, data[position : position + size]
        position += size
    raise UnsupportedMode(f"The limit is {_MOST_UNITS} units of data in an image of an AVIF file.")


def _check_sequence(bits: _Bits, width: int, height: int) -> None:
    """Check the size in the sequence header of AV1."""
    bits.number(4)  # profile, still picture
    reduced = bits.number(1)
    if reduced:
        bits.number(5)  # level
    else:
        if bits.number(1):
            raise UnsupportedMode("Send AVIF without timing information.")
        delay = bits.number(1)
        for _ in range(bits.number(5) + 1):
            bits.number(12)  # operating point
            bits.number(1 if bits.number(5) > 7 else 0)  # level, tier
            bits.number(4 if delay and bits.number(1) else 0)
    lengths = bits.number(4) + 1, bits.number(4) + 1
    sizes = bits.number(lengths[0]) + 1, bits.number(lengths[1]) + 1
    if sizes != (width, height):
        raise UndecodableImage("The file is damaged: an image has another size than the file says.")
    # The header of a frame may then say another size, which these lengths bound.
    if not reduced and any(1 << length > 2 * size for length, size in zip(lengths, sizes, strict=True)):
        raise UnsupportedMode("Send AVIF whose frames have the size of the picture.")


def _hevc_units(configuration: bytes, data: bytes) -> Iterator[bytes]:
    """Yield the units of the configuration and of the data, which a decoder reads one after the other."""
    if len(configuration) < 23:
        raise UndecodableImage(_DAMAGED)
    if configuration[21] & 3 != 3:
        raise UnsupportedMode("Send HEIC whose data is divided by lengths of four bytes.")
    position = 23
    for _ in range(configuration[22]):
        units = int.from_bytes(configuration[position + 1 : position + 3], "big")
        position += 3
        for _ in range(units):
            unit, position = _prefixed(configuration, position, 2)
            yield unit
    position = 0
    while position < len(data):
        unit, position = _prefixed(data, position, 4)
        yield unit


def _prefixed(data: bytes, position: int, size: int) -> tuple[bytes, int]:
    """Return the unit whose length is at a position, and the position after it."""
    start = position + size
    end = start + int.from_bytes(data[position:start], "big")
    if end > len(data):
        raise UndecodableImage(_DAMAGED)
    return data[start:end], end


def _check_parameters(bits: _Bits, width: int, height: int) -> None:
    """Check the size in the sequence parameter set of HEVC."""
    bits.number(4)
    layers = bits.number(3)
    bits.number(1 + 88 + 8)  # nesting, profile, level
    present = [(bits.number(1), bits.number(1)) for _ in range(8 if layers else 0)][:layers]
    for profile, level in present:
        bits.number(88 * profile + 8 * level)
    bits.exponential()  # identifier
    chroma = bits.exponential()
    bits.number(1 if chroma == 3 else 0)
    coded = bits.exponential(), bits.exponential()
    margins = [bits.exponential() for _ in range(4)] if bits.number(1) else [0] * 4
    units = _CROPPED.get(chroma, (1, 1))
    cropped = (
        coded[0] - units[0] * (margins[0] + margins[1]),
        coded[1] - units[1] * (margins[2] + margins[3]),
    )
    if cropped != (width, height) or any(large - small >= _LARGEST_BLOCK for large, small in zip(coded, cropped, strict=True)):
        raise UndecodableImage("The file is damaged: an image has another size than the file says.")
