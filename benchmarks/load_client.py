"""Open-loop load: requests come when they come, whether or not the server keeps up."""

import asyncio
import io
import random
import time
from dataclasses import dataclass
from functools import cache

import httpx2
import numpy as np
from PIL import Image

# Height, width and share of the requests: mostly small, with a tail of 2 megapixels.
MIX = (((128, 128), 0.30), ((256, 256), 0.30), ((512, 512), 0.25), ((768, 1024), 0.10), ((1250, 1600), 0.05))
MEAN_PIXELS = sum(height * width * share for (height, width), share in MIX)


@dataclass(frozen=True)
class Answer:
    """What became of a request; times in seconds on the monotonic clock.

    Attributes:
        status: HTTP status, or 0 when the client gave up.
        retry_after: What a refusal asked to wait.
        queued: Network pixels that a refusal said were ahead.
    """

    size: tuple[int, int]
    status: int
    began: float
    ended: float
    retry_after: float = 0.0
    queued: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began

    @property
    def pixels(self) -> int:
        """Of the image."""
        return self.size[0] * self.size[1]


@cache
def picture(size: tuple[int, int]) -> bytes:
    """A noisy picture file, quick to decode."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    clean = 120 + 60 * np.sin(x / 17) * np.cos(y / 23)
    noisy = clean + np.random.default_rng(size[0]).normal(0, 25, size)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def client(seconds: float = 120) -> httpx2.AsyncClient:
    """A client that opens as many connections as it needs."""
    return httpx2.AsyncClient(timeout=seconds, limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20))


async def post(http: httpx2.AsyncClient, url: str, size: tuple[int, int]) -> Answer:
    """Send one picture and wait for what comes."""
    began = time.monotonic()
    try:
        answer = await http.post(f"{url}/v1/denoise", params={"sigma": 25}, content=picture(size))
    except httpx2.TransportError:
        return Answer(size, 0, began, time.monotonic())
    ended = time.monotonic()
    if answer.status_code != 429:
        return Answer(size, answer.status_code, began, ended)
    queued = float(answer.json().get("queued_pixels", 0))
    return Answer(size, 429, began, ended, float(answer.headers["retry-after"]), queued)


async def closed_loop(url: str, seconds: float, workers: int, seed: int) -> float:
    """Pixels per second when a few clients always wait for their answer before they ask again: the capacity."""
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    done = 0

    async def work(http: httpx2.AsyncClient) -> None:
        nonlocal done
        while time.monotonic() < end:
            answer = await post(http, url, draw(rng))
            done += answer.pixels if answer.status == 200 else 0

    async with client() as http:
        began = time.monotonic()
        await asyncio.gather(*(work(http) for _ in range(workers)))
        return done / (time.monotonic() - began)


def draw(rng: random.Random) -> tuple[int, int]:
    """A size from the mix."""
    return rng.choices([size for size, _ in MIX], [share for _, share in MIX])[0]


async def open_loop(url: str, per_second: float, seconds: float, seed: int, patience: float) -> list[Answer]:
    """Send requests at exponential intervals, and wait for all answers."""
    rng = random.Random(seed)
    tasks = []
    async with client(patience) as http:
        due = began = time.monotonic()
        while due < began + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.create_task(post(http, url, draw(rng))))
            due += rng.expovariate(per_second)
        return list(await asyncio.gather(*tasks))


async def probe(url: str, path: str, every: float, stop: asyncio.Event) -> list[float]:
    """Ask for health again and again; how long each answer took."""
    latencies = []
    async with client(30) as http:
        while not stop.is_set():
            began = time.monotonic()
            answer = await http.get(url + path)
            assert answer.status_code == 200, answer.text
            latencies.append(time.monotonic() - began)
            await asyncio.sleep(every)
    return latencies
