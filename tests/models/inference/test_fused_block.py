"""Tests of the fused N3 block: Triton's interpreter gives the results of the blocked form, and the kernel compiles for GPUs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from models.inference import streamed_model, triton_kernel
from models.inference.denoiser import Denoiser
from models.inference.footprint import footprint
from models.inference.fused_block import constants, tile_side, trial_failure, unfused_reason
from models.inference.triton_kernel import n3_block
from models.networks.n3net import N3BlockConfig, N3NetConfig
from models.networks.n3unet import N3UNetConfig
from models.weights.files import load_weights
from tests.support.networks import SMALL, random_image, random_weights
from tests.support.paths import ROOT

SHARED_MEMORY = 227 << 10
"""Bytes that a program can use on a GPU of compute capability 9.0."""
CUDA, CPU = torch.device("cuda"), torch.device("cpu")
CASES = {
    "odd size, three spans of rows": 1e-5,
    "odd size, rows as they come": 1e-5,
    "window larger than the image": 1e-5,
    "even window": 1e-5,
    "stride of five": 1e-5,
    "paper form": 1e-4,  # it divides by the temperature repeatedly, which amplifies rounding errors
    "free temperature, float16": 2e-3,
    "block of N3UNet": 1e-5,
    "block of N3UNet, whole window": 1e-5,
    "block of N3UNet, float16": 2e-3,
    "saturated": 1e-3,  # large logits have few digits after the point
    "whole network in strips": 1e-5,
    "whole N3UNet in strips": 1e-5,
}


@pytest.fixture(scope="module")
def measured() -> dict[str, float]:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.support.interpreted"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, float] = json.loads(done.stdout)
    assert set(result) == set(CASES)
    return result


@pytest.mark.parametrize("case", CASES)
def test_the_interpreted_kernel_gives_the_result_of_the_blocked_form(case: str, measured: dict[str, float]) -> None:
    assert measured[case] <= CASES[case]


@pytest.mark.parametrize(("config", "side"), [(N3NetConfig.parse({**SMALL, "stride": 2}), 4), (N3UNetConfig(), 8)])
def test_the_kernel_compiles_for_a_gpu(config: N3BlockConfig, side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    compiled_for = constants(config, side, torch.float16)
    options = {name: compiled_for.pop(name) for name in ("num_warps", "num_stages", "enable_fp_fusion")}
    types = dict.fromkeys(("maps", "embedded", "log_temperature"), "*fp32") | dict.fromkeys(("values", "out"), "*fp16")
    types |= dict.fromkeys(("distance_scale", "bound", "offset"), "fp32") | dict.fromkeys(compiled_for, "constexpr")
    names = n3_block.arg_names
    source = ASTSource(
        fn=n3_block,
        signature={name: types.get(name, "i32") for name in names},
        constexprs={(names.index(name),): value for name, value in compiled_for.items()},
    )
    kernel = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert kernel.asm["cubin"]
    assert kernel.metadata.shared <= SHARED_MEMORY
    assert "mma" in kernel.asm["ptx"]
    assert "tf32" not in kernel.asm["ptx"]


def test_the_reason_for_not_using_it() -> None:
    config = N3NetConfig()
    assert unfused_reason(config, CUDA, torch.float16) is None
    assert "window of 31" in str(unfused_reason(N3NetConfig(window=31), CUDA, torch.float16))
    assert unfused_reason(config, CPU, torch.float32) == Denoiser(random_weights(), CPU, torch.float32, 1 << 28).unfused_reason


def test_the_reason_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert unfused_reason(N3NetConfig(), CUDA, torch.float16) == "triton is not installed"


@pytest.mark.parametrize("config", [N3NetConfig(), N3UNetConfig()])
def test_a_tile_holds_its_items(config: N3BlockConfig) -> None:
    assert tile_side(config, torch.float16) == 8
    assert tile_side(config, torch.float32) == 4
    assert constants(config, 8, torch.float16)["N"] == 512
    assert unfused_reason(config, CUDA, torch.float16) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["n3net", "n3unet", "photo", "upscale"])
def test_products_are_as_large_as_a_gpu_needs(name: str, dtype: torch.dtype) -> None:
    """The interpreter accepts smaller ones, and so do some versions of the compiler."""
    config = footprint(load_weights(name).config).block
    side = tile_side(config, dtype)
    assert side is not None
    sizes = constants(config, side, dtype)
    assert min(side**2, sizes["N"], sizes["DEPTH"], sizes["BLOCK"]) >= 16


class Kernel:
    """Stands for the compiled kernel, and counts its calls."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call, self.calls = call, 0

    def __getitem__(self, tiles: tuple[int, int]) -> Callable[..., None]:
        return self._launch

    def _launch(self, *_: object, **__: object) -> None:
        self.calls += 1
        self._call()


@pytest.fixture
def no_trials() -> Iterator[None]:
    trial_failure.cache_clear()
    yield
    trial_failure.cache_clear()


def too_small() -> None:
    try:
        raise AssertionError("Input shapes should have K >= 16\nand more")
    except AssertionError as error:
        raise RuntimeError("at 73:23:\n    products = tl.dot(a, b)") from error


@pytest.mark.usefixtures("no_trials")
def test_a_kernel_that_fails_is_tried_once_and_the_plain_form_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kernel, noisy = Kernel(too_small), random_image(20, 24)
    expected = Denoiser(random_weights(), CPU, torch.float32, 1 << 28).denoise(noisy, 0.1)
    monkeypatch.setattr(triton_kernel, "n3_block", kernel)
    monkeypatch.setattr(streamed_model, "unfused_reason", lambda *_: None)  # as on a GPU
    denoisers = [Denoiser(random_weights(), CPU, torch.float32, 1 << 28) for _ in range(2)]
    reason = "the fused N3 block fails on this device with AssertionError: Input shapes should have K >= 16"
    assert [denoiser.unfused_reason for denoiser in denoisers] == [reason, reason]
    (warning,) = caplog.records
    assert warning.levelname == "WARNING"
    assert reason in warning.getMessage()
    torch.testing.assert_close(denoisers[0].denoise(noisy, 0.1), expected)
    assert kernel.calls == 1


@pytest.mark.usefixtures("no_trials")
def test_a_kernel_that_works_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_kernel, "n3_block", kernel := Kernel(lambda: None))
    assert trial_failure(N3UNetConfig(), CPU, torch.float16) is None
    assert trial_failure(N3UNetConfig(), CPU, torch.bfloat16) is None
    assert trial_failure(N3UNetConfig(), CPU, torch.bfloat16) is None
    assert kernel.calls == 2
