"""Test that a GPU machine needs no packages but PyTorch, NumPy, safetensors and Triton."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from models.training.image_set import ImageSet
from tests.support.paths import ROOT

PROGRAM = """
import sys

ALLOWED = {"benchmarks", "models", "numpy", "safetensors", "torch", "torchgen", "triton"}
ALLOWED |= {"filelock", "fsspec", "jinja2", "markupsafe", "mpmath", "networkx", "sympy", "typing_extensions"}  # those of torch


class OnlyAllowed:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ALLOWED and top not in sys.stdlib_module_names and not top.startswith("_"):
            raise ModuleNotFoundError(f"no module named {name!r}", name=name)


sys.meta_path.insert(0, OnlyAllowed())
import benchmarks.cuda
import benchmarks.gpu.session
from models.training.image_set import ImageSet

print(len(ImageSet.read([sys.argv[1]])))
try:
    ImageSet.read([sys.argv[2]])
except ModuleNotFoundError as error:
    print(error)
"""


def test_the_commands_and_packed_image_sets_need_no_other_packages(tmp_path: Path) -> None:
    packed = tmp_path / "set.npz"
    ImageSet([np.zeros((8, 9), np.uint8)] * 3).save(packed)
    (tmp_path / "image.png").touch()
    command = [sys.executable, "-c", PROGRAM, str(packed), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "3\nno module named 'PIL'\n"
