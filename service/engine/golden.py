"""Store the self-test's result for a weights file: `python -m service.engine.golden NAME_OR_FILE`."""

import json
import sys
from pathlib import Path

from models.methods import load_method
from service.engine import selftest
from service.engine.backend import Backend
from service.settings import DEFAULT_MODEL


def main(weights: str) -> None:
    """Compute the result in float32 on the CPU and add it to golden.json."""
    method = load_method(DEFAULT_MODEL, weights=weights, device="cpu", dtype="float32")
    backend = Backend([method], lambda: method)
    digest = method.info.weights_sha256
    assert digest
    results = selftest.stored_results()
    results[digest] = selftest.encode(backend.denoise(selftest.noisy_image(), selftest.SIGMA))
    Path(__file__).with_name("golden.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
