"""The baseline of the load benchmark: a minimal FastAPI endpoint that runs the same denoiser in a thread pool."""

import asyncio
import io
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, Request, Response
from PIL import Image

from models.inference.denoiser import Denoiser


def create_app() -> FastAPI:
    """Return an app with one endpoint. Requests wait for a thread of asyncio's default pool and nowhere else."""
    loaded: list[Denoiser] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loaded.append(Denoiser.load())
        yield

    app = FastAPI(lifespan=lifespan)

    def work(data: bytes, sigma: float) -> bytes:
        noisy = np.asarray(Image.open(io.BytesIO(data)).convert("L"), np.float32) / 255
        denoised = loaded[0].denoise(torch.from_numpy(noisy), sigma / 255).numpy()
        out = io.BytesIO()
        Image.fromarray((denoised.clip(0, 1) * 255).round().astype(np.uint8)).save(out, "PNG")
        return out.getvalue()

    @app.post("/v1/denoise")
    async def denoise(request: Request, sigma: float) -> Response:
        file = await asyncio.to_thread(work, await request.body(), sigma)
        return Response(file, media_type="image/png")

    @app.get("/livez")
    @app.get("/readyz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(), port=int(sys.argv[-1]), log_level="warning")
