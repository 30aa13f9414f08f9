"""`n3denoise weights`, run as a user runs it."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from models.weights.files import load_weights
from service.__main__ import app
from tests.support.authors_checkpoint import checkpoint


def test_list_and_show_name_the_shipped_weights() -> None:
    sha256 = load_weights().sha256
    listed = CliRunner().invoke(app, ["weights", "list"])
    assert listed.exit_code == 0
    assert f"n3unet  sigma 0 to 75  sha256 {sha256}" in listed.stdout
    shown = json.loads(CliRunner().invoke(app, ["weights", "show"]).stdout)
    assert (shown["sha256"], shown["config"]["k"]) == (sha256, 7)
    assert CliRunner().invoke(app, ["weights", "show", "absent"]).exit_code == 2


def test_a_checkpoint_is_imported_and_can_be_loaded(tmp_path: Path) -> None:
    torch.save(checkpoint(), tmp_path / "051_ckpt.t7")
    command = ["weights", "import", str(tmp_path / "051_ckpt.t7"), "--sigma", "25", "-o", str(tmp_path / "out.safetensors")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    weights = load_weights(tmp_path / "out.safetensors")
    assert weights.sha256 in done.stdout
    assert weights.sigma_range == (25.0, 25.0)
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert CliRunner().invoke(app, [*command, "--force"]).exit_code == 0


@pytest.mark.parametrize("content", [b"", b"\x89PNG", b"root:x:0:0:root:/root:/bin/bash\n", b"a.", b"U", b"\x80\x02}."])
def test_another_file_writes_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "picture.t7").write_bytes(content)
    out = tmp_path / "out.safetensors"
    done = CliRunner().invoke(app, ["weights", "import", str(tmp_path / "picture.t7"), "--sigma", "25", "-o", str(out)])
    assert done.exit_code == 2
    assert "not a torch checkpoint; nothing was written" in done.stderr
    assert not out.exists()
