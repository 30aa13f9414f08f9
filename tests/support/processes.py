"""Programs in a process of their own, of which the memory can be measured."""

import subprocess
import sys

from tests.support.paths import ROOT

WRITER = """
import sys
from pathlib import Path
import numpy as np
from service.imaging.codec import encode
from service.imaging.picture import Picture
from tests.support.heif_files import heic

kind, depth, channels, alpha, side, name = sys.argv[1:]
shape = (int(channels), int(side), int(side))
planes = np.random.default_rng(0).uniform(0.4, 0.5, shape).astype(np.float32)
mask = np.full(shape[1:], 0.5, np.float32) if alpha == "True" else None
if kind == "heic":
    stack = planes if mask is None else np.concatenate([planes, mask[None]])
    Path(name).write_bytes(heic((stack.transpose(1, 2, 0) * 65535).astype(np.uint16)))
else:
    Path(name).write_bytes(encode(Picture(planes, shape[0] == 3, mask, kind, depth)))
"""
"""Writes an image file: kind, depth, channels, whether it has alpha, side, name."""


def python(script: str, *arguments: object) -> str:
    """Run a program and return what it prints."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
