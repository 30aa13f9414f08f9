"""Tests of the comparison of forms of the network for super-resolution."""

from pathlib import Path

import pytest
import torch

from benchmarks.training import upscaling_forms
from benchmarks.training.upscaling_forms import denoising_trunk, main
from models.networks.upscaling_net import UpscalingConfig
from models.training.recipe import Recipe
from models.weights.files import load_weights
from tests.support.image_folders import draw_pictures


@pytest.mark.parametrize("position", ["decoder", "none"])
def test_the_trunk_of_the_denoiser_is_taken(position: str) -> None:
    config = UpscalingConfig.parse({"position": position})
    state, source = denoising_trunk(config).network().state_dict(), load_weights("n3unet").state
    assert torch.equal(state["enc.0.a.weight"], source["enc.0.a.weight"])
    assert torch.equal(state["first.weight"][:, :5], source["first.weight"])
    assert not state["first.weight"][:, 5].any()
    assert ("dec_neighbors.join.weight" in state) == (position == "decoder")


def test_the_forms_are_trained_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = UpscalingConfig(features=4, embedding=4, window=5, k=3, position="none")
    recipe = Recipe(factors=(2, 3, 4), crop=16, batch=1, steps=1)
    monkeypatch.setattr(upscaling_forms, "FORMS", {"one": (tiny, recipe), "other": (tiny, recipe)})
    monkeypatch.setattr(upscaling_forms, "TEXTURES", ("brick",))
    (tmp_path / "pictures").mkdir()
    pictures = draw_pictures(tmp_path / "pictures")
    arguments = [str(pictures), "--images", str(pictures), "--only", "0.png", "--runs", str(tmp_path), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["upscaling_forms", *arguments])
    main()
    page = (tmp_path / "super-resolution-forms.md").read_text()
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    assert rows == ["form", "bicubic enlargement", "one", "other"]
