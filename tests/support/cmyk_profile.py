"""A color profile of CMYK, which Pillow cannot make: a table of the 16 mixtures of full inks, with steps between them."""

import itertools
import struct

import numpy as np

INKS = list(itertools.product((0, 255), repeat=4))


def mixture(inks: tuple[int, ...]) -> tuple[float, float, float]:
    """L*, a* and b* that the profile gives a mixture; the inks have unusual colors, and black covers everything."""
    cyan, magenta, yellow, black = (ink // 255 for ink in inks)
    lightness = 100 - 30 * cyan - 25 * magenta - 15 * yellow
    return (0, 0, 0) if black else (lightness, 20 * magenta - 20 * cyan, 15 * yellow)


def cmyk_profile(elements: int = 0) -> bytes:
    """Return the profile; with elements, another tag repeats one of them so often, and readers prefer it to the table."""
    steps = bytes(range(256))
    table = bytes(
        np.rint([each for inks in INKS for each in scaled(*mixture(inks))]).astype(np.uint8).tolist(),
    )
    lookup = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    lookup += struct.pack(">9i", *(65536 * (index % 4 == 0) for index in range(9))) + steps * 4 + table + steps * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    text = b"text" + bytes(4) + b"made for a test\0"
    tags = {b"A2B0": lookup, b"A2B1": lookup, b"wtpt": white, b"cprt": text, b"desc": described("test")}
    if elements:
        tags[b"D2B1"] = program(elements)
    start, directory, contents = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        directory += name + struct.pack(">II", start + len(contents), len(content))
        contents += content + bytes(-len(content) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s4x", start + len(contents), b"", 0x02400000, b"prtr", b"CMYK", b"Lab ", bytes(12), b"acsp"
    )
    header = header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + directory + contents


def program(elements: int) -> bytes:
    """A tag of so many matrices, all but the last of which are the same and change nothing."""

    def matrix(rows: int) -> bytes:
        return b"matf" + struct.pack(f">4xHH{5 * rows}f", 4, rows, *np.eye(rows, 4).ravel(), *[0] * rows)

    start = 16 + 8 * elements
    same, last = matrix(4), matrix(3)
    places = struct.pack(">II", start, len(same)) * (elements - 1) + struct.pack(">II", start + len(same), len(last))
    return b"mpet" + struct.pack(">4xHHI", 4, 3, elements) + places + same + last


def scaled(lightness: float, red: float, yellow: float) -> tuple[float, float, float]:
    return 2.55 * lightness, red + 128, yellow + 128


def described(text: str) -> bytes:
    return b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text.encode() + bytes(1 + 78)
