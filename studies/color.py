"""Color schemes for a gray network; `python -m studies.color FOLDER` prints the table of the decision."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.images.color import MATRIX, NOISE, merge, separate
from models.images.files import image_files
from models.inference.denoiser import Denoiser
from service.imaging.picture import Plane, Planes

Denoise = Callable[[Plane, float], Plane]


def each_channel(noisy: Planes, sigma: float, denoise: Denoise) -> Planes:
    """Denoise red, green and blue separately."""
    return np.stack([denoise(plane, sigma) for plane in noisy])


def luma_and_differences(noisy: Planes, sigma: float, denoise: Denoise) -> Planes:
    """Denoise the planes of `models.images.color`, as the service does."""
    return merge(np.stack([denoise(plane, sigma * noise) for plane, noise in zip(separate(noisy), NOISE, strict=True)]))


def television_luma(noisy: Planes, sigma: float, denoise: Denoise) -> Planes:
    """Denoise the luma of BT.601, whose noise is stronger and correlated with that of the differences, and two differences."""
    matrix = np.array([[0.299, 0.587, 0.114], *MATRIX[1:]])
    strengths = np.sqrt(np.square(matrix).sum(1))
    offsets = np.array([0, 0.5, 0.5])[:, None, None]
    mixed = np.tensordot(matrix, noisy, 1) + offsets
    denoised = np.stack([denoise(plane, sigma * strength) for plane, strength in zip(mixed, strengths, strict=True)])
    return np.asarray(np.tensordot(np.linalg.inv(matrix), denoised - offsets, 1))


def luma_and_three_differences(noisy: Planes, sigma: float, denoise: Denoise) -> Planes:
    """Denoise the mean, and the difference of each channel from it: four passes instead of three."""
    luma = noisy.mean(0)
    clean = denoise(luma, sigma / 3**0.5)
    return np.stack([clean + denoise(plane - luma + 0.5, sigma * (2 / 3) ** 0.5) - 0.5 for plane in noisy])


SCHEMES = {
    "each channel": each_channel,
    "luma (BT.601) and two differences": television_luma,
    "luma (mean) and three differences": luma_and_three_differences,
    "luma (mean) and two differences": luma_and_differences,
}


def crop(path: Path, side: int) -> Planes:
    """Return the center of an image, (3, H, W)."""
    with Image.open(path) as image:
        rgb = np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1) / np.float32(255)
    top, left = (max(0, (size - side) // 2) for size in rgb.shape[1:])
    return rgb[:, top : top + side, left : left + side]


def psnr(image: Planes, reference: Planes) -> float:
    """Return the PSNR in dB over all samples of all channels, neither clipped nor rounded."""
    return float(-10 * np.log10(np.mean((image.astype(np.float64) - reference) ** 2)))


def main() -> None:
    """Measure every scheme on the images of a folder, and print the mean PSNR."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of color images that no network was trained on")
    parser.add_argument("--only", type=Path, help="text file with the names of the images to use, without suffix")
    parser.add_argument("--sigma", type=float, nargs="+", default=[15, 25, 50], help="noise levels")
    parser.add_argument("--side", type=int, default=192, help="side of the square cut from the center of each image, in pixels")
    arguments = parser.parse_args()
    denoiser = Denoiser.load("n3net")

    def denoise(plane: Plane, sigma: float) -> Plane:
        result: Plane = denoiser.denoise(torch.from_numpy(np.ascontiguousarray(plane, np.float32)), sigma).numpy()
        return result

    names = set(arguments.only.read_text().split()) if arguments.only else None
    files = [path for path in image_files(arguments.folder) if names is None or path.stem in names]
    print(f"{len(files)} images, {arguments.side} x {arguments.side} px from the center, weights {denoiser.weights.sha256[:12]}")
    print("| sigma | noisy | " + " | ".join(SCHEMES) + " |\n|" + " --- |" * (len(SCHEMES) + 2))
    for sigma in arguments.sigma:
        rows = []
        for seed, path in enumerate(files):
            clean = crop(path, arguments.side)
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)).numpy()
            noisy: Planes = np.asarray(clean + noise * np.float32(sigma / 255), np.float32)
            rows.append([psnr(noisy, clean), *(psnr(scheme(noisy, sigma / 255, denoise), clean) for scheme in SCHEMES.values())])
        print(f"| {sigma:g} | " + " | ".join(f"{mean:.2f}" for mean in np.mean(rows, 0)) + " |", flush=True)


if __name__ == "__main__":
    main()
