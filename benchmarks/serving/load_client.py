"""HTTP clients that put a server under load."""

import asyncio
import io
import random
import time
from dataclasses import dataclass
from functools import cache

import httpx2
import numpy as np
from PIL import Image

MIX = (((128, 128), 0.30), ((256, 256), 0.30), ((512, 512), 0.25), ((768, 1024), 0.10), ((1250, 1600), 0.05))
"""Sizes (height, width) and their shares of the requests: mostly small images, and a few of 2 megapixels."""
MEAN_PIXELS = sum(height * width * share for (height, width), share in MIX)


@dataclass(frozen=True)
class Answer:
    """The outcome of a request. Times are in seconds on the monotonic clock.

    Attributes:
        size: Height and width of the image.
        status: HTTP status, or 0 if the connection failed or the client gave up.
        began: Time at which the request was sent.
        ended: Time at which the answer was there.
        retry_after: Seconds that a refusal asked the client to wait.
        queued: Number of pixels ahead in the queue, as stated by a refusal.
    """

    size: tuple[int, int]
    status: int
    began: float
    ended: float
    retry_after: float = 0.0
    queued: float = 0.0

    @property
    def seconds(self) -> float:
        """Duration of the request."""
        return self.ended - self.began

    @property
    def pixels(self) -> int:
        """Number of pixels of the image."""
        return self.size[0] * self.size[1]


@cache
def picture(size: tuple[int, int]) -> bytes:
    """Return a noisy image of a size (height, width) as a PNG file that is fast to decode."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    clean = 120 + 60 * np.sin(x / 17) * np.cos(y / 23)
    noisy = clean + np.random.default_rng(size[0]).normal(0, 25, size)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def client(seconds: float = 120) -> httpx2.AsyncClient:
    """Return a client with this timeout and no limit on its connections."""
    return httpx2.AsyncClient(timeout=seconds, limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20))


async def post(http: httpx2.AsyncClient, url: str, size: tuple[int, int]) -> Answer:
    """Send one image to be denoised and wait for the answer."""
    began = time.monotonic()
    try:
        answer = await http.post(f"{url}/v1/denoise", params={"sigma": 25}, content=picture(size))
    except httpx2.TransportError:
        return Answer(size, 0, began, time.monotonic())
    ended = time.monotonic()
    if answer.status_code != 429:
        return Answer(size, answer.status_code, began, ended, float(answer.headers.get("retry-after", 0)))
    queued = float(answer.json().get("queued_pixels", 0))
    return Answer(size, 429, began, ended, float(answer.headers["retry-after"]), queued)


async def closed_loop(url: str, seconds: float, workers: int, seed: int) -> float:
    """Measure the capacity: the pixels per second with a few clients that each wait for an answer before the next request."""
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
    """Draw a size from `MIX`."""
    return rng.choices([size for size, _ in MIX], [share for _, share in MIX])[0]


async def open_loop(url: str, per_second: float, seconds: float, seed: int, patience: float) -> list[Answer]:
    """Send requests at random times, no matter whether the server keeps up, and wait for all answers.

    Args:
        url: The server.
        per_second: Mean number of requests per second; the intervals are distributed exponentially.
        seconds: Duration of the arrivals.
        seed: Seed of the intervals and sizes.
        patience: Timeout of a request in seconds.
    """
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
    """Request a path again and again until `stop` is set, and return the durations in seconds.

    Args:
        url: The server.
        path: The path, such as "/livez".
        every: Pause between two requests in seconds.
        stop: Ends the requests.
    """
    latencies = []
    async with client(30) as http:
        while not stop.is_set():
            began = time.monotonic()
            answer = await http.get(url + path)
            assert answer.status_code == 200, answer.text
            latencies.append(time.monotonic() - began)
            await asyncio.sleep(every)
    return latencies
