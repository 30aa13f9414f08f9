"""Tests that a GPU gives the results of the CPU. They are skipped without a GPU."""

import pytest
import torch

from models.inference.cut_plan import Plan, cut_panels
from models.inference.denoiser import Denoiser
from models.inference.device import DType
from models.inference.upscaler import Upscaler
from models.neighbors.neighborhood import NeighborQuery
from models.networks.n3unet import N3UNetConfig
from models.networks.upscaling_net import FACTORS, UpscalingConfig
from models.steps import run_through
from models.training.trainer import fresh_network
from models.weights.files import Weights
from tests.support.networks import random_image, random_unet, random_weights

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SIZES = [(512, 512), (97, 401), (7, 5), (300, 21)]


@pytest.fixture(scope="module", params=["n3net", "n3unet"])
def on_cpu(request: pytest.FixtureRequest) -> Denoiser:
    return Denoiser.load(request.param, device="cpu", dtype="float32")


def on_gpu(reference: Denoiser, dtype: DType = "float32") -> Denoiser:
    return Denoiser.load(reference.weights.name, device="cuda", dtype=dtype)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_float32_on_the_gpu_is_float32_on_the_cpu(size: tuple[int, int], fused: bool, on_cpu: Denoiser) -> None:
    denoiser = on_gpu(on_cpu)
    assert denoiser.unfused_reason is None
    noisy = random_image(*size)
    denoised = run_through(denoiser.planned_steps(noisy, 0.1, denoiser.plan(*size, fused=fused)))
    torch.testing.assert_close(denoised, on_cpu.denoise(noisy, 0.1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("size", SIZES)
def test_half_precision_is_close(dtype: DType, size: tuple[int, int], on_cpu: Denoiser) -> None:
    noisy = random_image(*size)
    difference = on_gpu(on_cpu, dtype).denoise(noisy, 0.1) - on_cpu.denoise(noisy, 0.1)
    assert difference.square().mean().sqrt() < 3e-3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_fused_block_is_close_to_the_plain_one_in_half_precision(dtype: DType, on_cpu: Denoiser) -> None:
    denoiser, noisy = on_gpu(on_cpu, dtype), random_image(150, 170)
    fused, plain = (
        run_through(denoiser.planned_steps(noisy, 0.1, denoiser.plan(150, 170, fused=fused))) for fused in (True, False)
    )
    assert (fused - plain).square().mean().sqrt() < 3e-3


@pytest.mark.parametrize("fused", [True, False])
def test_the_cut_does_not_matter(fused: bool, on_cpu: Denoiser) -> None:
    denoiser = on_gpu(on_cpu)
    height, width = 131, 1501
    noisy = random_image(height, width)
    whole = denoiser.denoise(noisy, 0.1)
    columns = denoiser.plan(height, width).panels[-1].stop
    panels = tuple(cut_panels(denoiser.footprint, columns, 500))
    assert len(panels) > 1
    cut = run_through(denoiser.planned_steps(noisy, 0.1, Plan(panels, 30, 4, 1, fused=fused)))
    torch.testing.assert_close(cut, whole, atol=1e-5, rtol=0)


def test_a_noise_level_map_gives_the_result_of_the_cpu(on_cpu: Denoiser) -> None:
    noisy, level = random_image(97, 201), torch.linspace(0, 0.25, 201).expand(97, 201).contiguous()
    torch.testing.assert_close(on_gpu(on_cpu).denoise(noisy, level), on_cpu.denoise(noisy, level), atol=1e-4, rtol=0)


def test_color_gives_the_result_of_the_cpu() -> None:
    weights = random_unet(1, channels=3)
    noisy = torch.stack([random_image(61, 47, seed) for seed in range(3)])
    images = [Denoiser(weights, device, torch.float32, 1 << 28).denoise(noisy, 0.1) for device in (CUDA, CPU)]
    torch.testing.assert_close(*images, atol=1e-3, rtol=1e-3)


def test_images_in_flight_on_two_streams_do_not_mix(on_cpu: Denoiser) -> None:
    denoiser, noisy = on_gpu(on_cpu), [random_image(200, 300, seed) for seed in range(2)]
    alone = [denoiser.denoise(image, 0.1) for image in noisy]
    streams, running = [torch.cuda.Stream() for _ in noisy], [denoiser.steps(image, 0.1) for image in noisy]
    for stream, steps in zip(streams, running, strict=True):
        with torch.cuda.stream(stream):
            while next(steps) < 1:
                pass
    for stream, steps, expected in zip(streams, running, alone, strict=True):
        with torch.cuda.stream(stream):
            torch.testing.assert_close(run_through(steps), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_batch_gives_the_result_of_the_cpu() -> None:
    network = fresh_network(N3UNetConfig().build, 0).eval()
    noisy = torch.stack([random_image(64, 80, seed) for seed in range(5)])[:, None]
    sigma = torch.linspace(0, 0.25, 5).view(-1, 1, 1, 1)
    expected = network(noisy, sigma)
    torch.testing.assert_close(network.to(CUDA)(noisy.to(CUDA), sigma.to(CUDA)).cpu(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("size", SIZES)
def test_an_enlarged_image_is_that_of_the_cpu(size: tuple[int, int], factor: int) -> None:
    config = UpscalingConfig()
    weights = Weights("fresh", config, (0, 25), {}, "0" * 64, fresh_network(config.build, 0).state_dict())
    noisy = random_image(*size)
    images = [Upscaler(weights, device, torch.float32, 1 << 28).upscale(noisy, 0.05, factor) for device in (CUDA, CPU)]
    torch.testing.assert_close(*images, atol=1e-4, rtol=0)


def test_the_fused_block_has_the_paper_form() -> None:
    weights = random_weights(1, relaxation="paper", planes=2)
    noisy = random_image(61, 47)
    images = [Denoiser(weights, device, torch.float32, 1 << 28).denoise(noisy, 0.1) for device in (CUDA, CPU)]
    torch.testing.assert_close(*images, atol=1e-3, rtol=1e-3)


def test_the_neighbors_are_those_of_the_cpu(on_cpu: Denoiser) -> None:
    noisy = random_image(331, 352)
    for block in range(1, len(on_cpu.info.blocks) + 1):
        query = NeighborQuery(180, 170, block)
        tables = [run_through(denoiser.neighbor_steps(noisy, 0.1, query)) for denoiser in (on_gpu(on_cpu), on_cpu)]
        torch.testing.assert_close(*tables, atol=1e-3, rtol=1e-3)
