"""Ways to denoise pictures that count photons, compared on photographs with simulated Poisson-Gaussian noise.

`python -m benchmarks.quality.photon_noise FOLDER` writes photon-noise.md. FOLDER holds clean images that are neither training
images nor in a test set. The columns "poisson" call the pipeline of the service.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks.markdown import paragraph, row_of
from benchmarks.provenance import RESULTS, provenance
from models.images.files import image_files, read_gray
from models.images.metrics import psnr
from models.images.photon_noise import PhotonNoise
from models.inference.denoiser import Denoiser
from service.denoising.photon_counts import PhotonOptions, denoise_photon_counts
from service.denoising.pipeline import DenoisingOptions
from service.imaging.picture import Picture

Image = NDArray[np.floating]
Network = Callable[[Image, float | Image], Image]

SIDE = 160
PEAKS = (5, 10, 30, 100, 300, 1000)
READ_NOISES = (0, 1, 3)  # in electrons
FACTORS = (0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.8)
"""The oracle picks the best sigma of each picture among these multiples of the root of its mean noise variance."""
MAP_SMOOTHING = 2.0  # pixels; the best of 1, 2 and 3
TONE_CURVES = {
    "values as light": ("The values of the photographs are taken for light.", 1.0),
    "tone curve undone": ("The values to the power of 2.2 are taken for light, which is about what the camera saw.", 2.2),
}
COLUMNS = ("noisy", "best sigma", "map", "map, two passes", "poisson, known", "poisson, auto")


def network(denoiser: Denoiser, noisy: Image, sigma: float | Image) -> Image:
    """Denoise a picture in [0, 1] whose noise may be stronger than the network knows: its contrast is then reduced before."""
    factor = min(1.0, denoiser.info.sigma_range[1] / 255 / float(np.max(sigma)))
    fitting = torch.from_numpy((0.5 + (noisy - 0.5) * factor).astype(np.float32))
    level = float(sigma * factor) if isinstance(sigma, float) else torch.from_numpy((sigma * factor).astype(np.float32))
    return np.asarray(0.5 + (denoiser.denoise(fitting, level).numpy().astype(np.float64) - 0.5) / factor)


def by_transform(denoiser: Denoiser, noisy: Image, photons: PhotonOptions) -> Image:
    """Denoise a picture as the service does with noise=poisson."""
    picture = Picture(noisy.astype(np.float32)[None], depth="float", format="tiff")
    passes = denoise_photon_counts(picture, DenoisingOptions(None), photons, denoiser.info.sigma_range)
    try:
        each = next(passes)
        while True:
            assert isinstance(each.sigma, float)
            each = passes.send(denoiser.denoise(torch.from_numpy(each.plane), each.sigma).numpy())
    except StopIteration as end:
        denoised: Image = end.value.picture.planes[0]
        return denoised


def results(denoiser: Denoiser, clean: Image, noise: PhotonNoise, seed: int) -> dict[str, list[Image]]:
    """Return what each way makes of a picture with noise; of "best sigma", one result for each sigma."""
    generator = np.random.default_rng(seed)
    electrons = generator.poisson(clean / noise.gain) * noise.gain
    noisy = (electrons + noise.read_noise * generator.standard_normal(clean.shape)).astype(np.float32)
    run: Network = partial(network, denoiser)
    root = float(np.sqrt(np.square(noise.sigma(clean)).mean()))
    known = PhotonOptions(255 * noise.gain, 255 * noise.read_noise)
    transformed = by_transform(denoiser, noisy, known)
    images = (
        [noisy],
        [run(noisy, factor * root) for factor in FACTORS],
        [run(noisy, noise.sigma(gaussian_filter(noisy, MAP_SMOOTHING)))],
        [run(noisy, noise.sigma(transformed))],
        [transformed],
        [by_transform(denoiser, noisy, PhotonOptions())],
    )
    return dict(zip(COLUMNS, images, strict=True))


def row(denoiser: Denoiser, cleans: list[Image], noise: PhotonNoise, gamma: float) -> list[tuple[float, float]]:
    """Return the mean PSNR of each way, of the light and after the tone curve."""

    def curved(image: Image) -> Image:
        return np.asarray(np.maximum(image, 0) ** (1 / gamma))

    figures = []
    for seed, clean in enumerate(cleans):
        images = results(denoiser, clean, noise, seed)
        figures.append(
            [
                (max(psnr(each, clean) for each in images[way]), max(psnr(curved(each), curved(clean)) for each in images[way]))
                for way in COLUMNS
            ]
        )
    return [(float(light), float(shown)) for light, shown in np.mean(figures, 0)]


def table(denoiser: Denoiser, images: list[Image], gamma: float, peaks: tuple[int, ...], reads: tuple[int, ...]) -> list[str]:
    """Measure all peaks and read noises, and return the table as Markdown."""
    cleans: list[Image] = [np.asarray(image**gamma) for image in images]
    lines = [row_of("peak", "read noise", *COLUMNS, "poisson, auto, over best sigma"), "|---:" * (len(COLUMNS) + 3) + "|"]
    for peak in peaks:
        for read in reads:
            figures = row(denoiser, cleans, PhotonNoise(1 / peak, read / peak), gamma)
            gains = [auto - best for auto, best in zip(figures[-1], figures[1], strict=True)]
            cells = [f"{light:.2f}" if gamma == 1 else f"{light:.2f} / {shown:.2f}" for light, shown in figures]
            lines.append(row_of(peak, read, *cells, f"{gains[0]:+.2f}" if gamma == 1 else f"{gains[0]:+.2f} / {gains[1]:+.2f}"))
            print(lines[-1], file=sys.stderr, flush=True)
    return lines


def center(image: Image) -> Image:
    """Return the middle of an image."""
    top, left = (max(0, (size - SIDE) // 2) for size in image.shape)
    return image[top : top + SIDE, left : left + SIDE]


def main(words: list[str] | None = None) -> None:
    """Measure, and write the report after each table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of clean images")
    parser.add_argument("--models", nargs="+", default=["n3net", "n3unet"], help="networks")
    parser.add_argument("--peaks", type=int, nargs="+", default=PEAKS, help="photo-electrons at white")
    parser.add_argument("--read-noises", type=int, nargs="+", default=READ_NOISES, help="in electrons")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    arguments = parser.parse_args(words)
    arguments.out.mkdir(parents=True, exist_ok=True)  # at once, because the measurement takes long
    images = [center(read_gray(path).numpy().astype(np.float64)) for path in image_files(arguments.folder)]
    lines = [
        "# Photon noise",
        "",
        f"{provenance()}",
        "",
        paragraph(
            f"Mean PSNR in dB of the middle {SIDE} x {SIDE} px of {len(images)} images.",
            "The peak is the number of photo-electrons at white; the read noise is in electrons too.",
            "Nothing is clipped or rounded.",
            "Best sigma: one sigma for the whole picture, the best of seven for each picture.",
            "Map: the network is told the noise level of each pixel, computed from the smoothed noisy picture;",
            'with two passes, computed from the result of "poisson, known".',
            "Poisson: what the service does with noise=poisson, told the gain and the read noise, or not (auto).",
        ),
    ]
    for curve, (description, gamma) in TONE_CURVES.items():
        both = " The second figure of each pair is the PSNR after the tone curve, as a screen shows it." if gamma != 1 else ""
        for name in arguments.models:
            lines += ["", f"## {name}, {curve}", "", paragraph(description + both), ""]
            lines += table(Denoiser.load(name), images, gamma, tuple(arguments.peaks), tuple(arguments.read_noises))
            (arguments.out / "photon-noise.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
