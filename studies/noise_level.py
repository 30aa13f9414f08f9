"""The accuracy of noise level estimation; `python -m studies.noise_level FOLDER` prints the table of the decision."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from skimage.restoration import estimate_sigma

from models.images.files import image_files, read_gray
from models.images.metrics import psnr
from models.images.noise import add_noise
from models.images.noise_level import estimate_noise
from models.inference.denoiser import Denoiser

Gray = NDArray[np.float32]


def wavelet(image: Gray) -> float:
    """Estimate by the median absolute deviation of the finest diagonal wavelet coefficients (Donoho and Johnstone 1994)."""
    return float(estimate_sigma(image))


def patch_eigenvalues(image: Gray, side: int = 8) -> float:
    """Estimate by the eigenvalues of the covariance of all patches whose mean is their median (Chen, Zhu and Heng, ICCV 2015)."""
    patches = sliding_window_view(image, (side, side)).reshape(-1, side * side)
    values = np.linalg.eigvalsh(np.cov(patches, rowvar=False))
    for count in range(len(values), 0, -1):
        mean = values[:count].mean()
        if mean <= np.median(values[:count]):
            return float(np.sqrt(mean))
    return float(np.sqrt(max(values[0], 0)))


def flat_patches(image: Gray) -> float:
    """Estimate as the service does, with `models.images.noise_level`."""
    return estimate_noise(image).sigma


METHODS: dict[str, Callable[[Gray], float]] = {
    "wavelet": wavelet,
    "eigenvalues of all patches": patch_eigenvalues,
    "flat patches": flat_patches,
}


def main() -> None:
    """Measure the errors of every method, and the PSNR after denoising with the true and with the estimated sigma."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of clean images")
    parser.add_argument("--only", type=Path, help="text file with the names of the images to use, without suffix")
    parser.add_argument("--sigma", type=float, nargs="+", default=[0, 5, 10, 15, 25, 35, 50, 75], help="noise levels")
    parser.add_argument(
        "--psnr", type=float, nargs="*", default=[5, 15, 25, 50, 75], help="noise levels for which to denoise as well"
    )
    parser.add_argument("--side", type=int, default=192, help="side of the square from the center that is denoised, in pixels")
    arguments = parser.parse_args()
    names = set(arguments.only.read_text().split()) if arguments.only else None
    files = [path for path in image_files(arguments.folder) if names is None or path.stem in names]
    denoiser = Denoiser.load("n3net")
    print(f"{len(files)} images; mean absolute error / largest error; PSNR on {arguments.side} px from the center")
    print("| sigma | " + " | ".join(METHODS) + " | PSNR, true sigma | PSNR, auto |\n|" + " --- |" * (len(METHODS) + 3))
    for sigma in arguments.sigma:
        errors, gains = [], []
        for seed, path in enumerate(files):
            clean = read_gray(path)
            noisy = add_noise(clean, sigma / 255, seed)
            found = [method(noisy.numpy()) for method in METHODS.values()]
            errors.append([abs(255 * each - sigma) for each in found])
            if sigma in arguments.psnr:
                top, left = (max(0, (size - arguments.side) // 2) for size in clean.shape)
                part = slice(top, top + arguments.side), slice(left, left + arguments.side)
                least, most = denoiser.info.sigma_range
                used = min(max(found[-1], least / 255), most / 255)
                gains.append([psnr(denoiser.denoise(noisy[part].contiguous(), s), clean[part]) for s in (sigma / 255, used)])
        cells = [f"{mean:.2f} / {worst:.2f}" for mean, worst in zip(np.mean(errors, 0), np.max(errors, 0), strict=True)]
        cells += [f"{mean:.3f}" for mean in np.mean(gains, 0)] if gains else ["", ""]
        print(f"| {sigma:g} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
