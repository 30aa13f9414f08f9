"""Hypothesis strategies for bad requests: mutated files of every format, broken forms, and invalid parameters."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

FORMATS = ("png", "jpeg", "webp", "tiff", "bmp")
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
WORDS = ("", "auto", "-1", "nan", "inf", "1e400", "25", "75.0001", "0x19", "٢٥", "n3net", "../x", "png", "rgb", "true", "\x00")
OPTIONS = ("sigma", "model", "format", "strength", "luma_strength", "detail", "color", "ensemble", "depth", "metadata")
NAMES = (*OPTIONS, "reference", "mask", "image", "", "SIGMA", "a" * 300)
TYPES = ("image/png", "application/octet-stream", "text/plain", "", ";", "image/png; x")
ACCEPTS = ("application/json", "*/*", "text/html", "image/*;q=x", ";;,", "*/*;q=-1")


@cache
def good(name: str, mode: str) -> bytes:
    """Return a small valid file of a format and mode."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (24, 20, 4), dtype=np.uint8)).convert("RGB").convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, name.upper())
    return buffer.getvalue()


FILES = (
    *((name, mode) for name in FORMATS for mode in ("L", "RGB")),
    *(("png", mode) for mode in ("1", "P", "LA", "RGBA", "I;16")),
    *(("tiff", mode) for mode in ("1", "F", "I;16", "CMYK", "RGBA")),
    *(("jpeg", "CMYK"), ("webp", "RGBA"), ("bmp", "P")),
)


@dataclass(frozen=True)
class BadRequest:
    """A request to send."""

    content: bytes
    headers: dict[str, str] = field(default_factory=dict)
    params: list[tuple[str, str]] = field(default_factory=list)


@st.composite
def mutated(draw: Callable[..., Any]) -> bytes:
    """Draw a file with bytes changed, removed, inserted or repeated, more often in its header than in its body."""
    data = bytearray(good(*draw(st.sampled_from(FILES))))
    for _ in range(draw(st.integers(1, 6))):
        most = max(len(data) - 1, 0)
        at = draw(st.one_of(st.integers(0, min(100, most)), st.integers(0, most)))
        kind = draw(st.sampled_from(("set", "flip", "cut", "delete", "insert", "repeat", "number")))
        if kind == "set":
            data[at : at + 1] = bytes([draw(st.sampled_from(INTERESTING))])
        elif kind == "flip":
            data[at : at + 1] = bytes([(data[at] if data else 0) ^ (1 << draw(st.integers(0, 7)))])
        elif kind == "cut":
            del data[at:]
        elif kind == "delete":
            del data[at : at + draw(st.integers(1, 16))]
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "repeat":
            data[at:at] = data[at : at + draw(st.integers(1, 64))]
        else:  # an absurd size or offset
            number = draw(st.sampled_from((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 20_000, 65_535)))
            data[at : at + 4] = number.to_bytes(4, draw(st.sampled_from(("little", "big"))))
    return bytes(data)


def text() -> st.SearchStrategy[str]:
    """Return a strategy for the value of an option."""
    return st.one_of(st.sampled_from(WORDS), st.text(max_size=20), st.floats().map(str))


@st.composite
def form(draw: Callable[..., Any]) -> tuple[bytes, str]:
    """Draw the body and content type of a multipart form that is often malformed."""
    boundary = draw(st.sampled_from(("b", "x" * 70, "--", "a b")))
    line = draw(st.sampled_from((b"\r\n", b"\n", b"")))
    body = b""
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from(NAMES))
        data = draw(st.one_of(mutated(), st.just(good("png", "L")), st.binary(max_size=40), text().map(encode)))
        disposition = draw(st.sampled_from(('form-data; name="{}"', 'form-data; name="{}"; filename="f"', "form-data", "{}")))
        head = b"Content-Disposition: " + encode(disposition.format(name))
        body += b"--" + boundary.encode() + line + head + line + line + data + line
    body += draw(st.sampled_from((b"--" + boundary.encode() + b"--\r\n", b"", b"--", b"\x00")))
    named = f"multipart/form-data; boundary={boundary}"
    return body, draw(st.sampled_from((named, named, named, "multipart/form-data", "multipart/mixed; boundary=b")))


def encode(value: str) -> bytes:
    return value.encode("utf-8", "replace")


@st.composite
def bad_requests(draw: Callable[..., Any]) -> BadRequest:
    """Draw a request with a mutated file, random bytes or a form, and often invalid parameters or headers."""
    if draw(st.integers(0, 3)) == 0:
        content, kind = draw(form())
        headers = {"content-type": kind}
    else:
        content = draw(st.one_of(mutated(), mutated(), mutated(), st.binary(max_size=64)))
        headers = {"content-type": draw(st.sampled_from(TYPES))}
    if draw(st.integers(0, 7)) == 0:
        headers["accept"] = draw(st.sampled_from(ACCEPTS))
    plain: st.SearchStrategy[list[tuple[str, str]]] = st.just([("sigma", "25")])
    odd = st.lists(st.tuples(st.sampled_from(NAMES), text()), max_size=3)
    return BadRequest(content, headers, draw(st.one_of(plain, plain, plain, odd)))
