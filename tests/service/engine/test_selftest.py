"""The self-test: its result is stored for the default weights, and it detects a broken device."""

import numpy as np
import pytest

from models.inference.denoiser import Denoiser
from models.weights.files import load_weights
from service.engine import selftest
from service.engine.backend import Backend
from service.errors import NotReady
from service.settings import DEFAULT_MODEL


def backend_with(dtype: str) -> Backend:
    def load() -> Denoiser:
        return Denoiser.load("default", "cpu", dtype)  # type: ignore[arg-type]

    return Backend([load()], load)


def test_the_default_weights_have_a_stored_result() -> None:
    digest = load_weights("default").sha256
    assert digest in selftest.stored_results(), "run: python -m service.engine.golden default"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_data_type_gives_the_stored_result(dtype: str) -> None:
    backend = backend_with(dtype)
    backend.check()
    golden = selftest.decode(selftest.stored_results()[str(backend.models[DEFAULT_MODEL].weights_sha256)])
    deviation = selftest.deviation(backend.denoise, golden)
    assert deviation < selftest.TOLERANCE / (50 if dtype == "float32" else 3)


def test_a_wrong_result_deviates() -> None:
    golden = selftest.decode(selftest.stored_results()[load_weights("default").sha256])
    assert selftest.deviation(lambda noisy, _: noisy, golden) > selftest.TOLERANCE  # as if nothing were denoised
    assert selftest.deviation(lambda _, __: golden + np.float32(0.01), golden) > selftest.TOLERANCE
    assert selftest.deviation(lambda _, __: np.full_like(golden, np.nan), golden) == float("inf")
    assert selftest.deviation(lambda _, __: golden[1:], golden) == float("inf")


def test_a_deviation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = backend_with("float32")
    monkeypatch.setattr(selftest, "noisy_image", lambda: np.zeros((72, 88), np.float32))
    with pytest.raises(NotReady, match="deviates"):
        backend.check()


def test_decoding_inverts_encoding() -> None:
    result = np.random.default_rng(0).normal(0.5, 0.2, (72, 88)).astype(np.float32)
    np.testing.assert_allclose(selftest.decode(selftest.encode(result)), result, atol=1 / 16384)
