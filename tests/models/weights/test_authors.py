"""The import of the authors' checkpoints: right for these, refused for other files."""

from pathlib import Path

import pytest
import torch

from models.networks.n3net import N3NetConfig
from models.weights.authors import import_checkpoint
from models.weights.files import WeightsError, load_weights, save_weights
from tests.support.authors_checkpoint import THEIRS, checkpoint


def test_an_authors_checkpoint_is_imported(tmp_path: Path) -> None:
    content = checkpoint()
    torch.save(content, tmp_path / "051_ckpt.t7")
    weights = import_checkpoint(tmp_path / "051_ckpt.t7", 25)
    assert weights.sigma_range == (25.0, 25.0)
    assert isinstance(weights.config, N3NetConfig)
    assert not weights.config.sigma_plane
    assert weights.config.relaxation == "code"
    assert weights.config.temperature_bound is None
    net = content["net"]
    for theirs, ours in THEIRS:
        for key, tensor in weights.state.items():
            if key.startswith(f"{ours}.") and not key.endswith("num_batches_tracked"):
                expected = net[theirs + key[len(ours) :]].clone()
                expected[expected.abs() < torch.finfo(torch.float32).tiny] = 0
                assert torch.equal(tensor, expected), key
    assert weights.state["dncnns.0.2.weight"][0, 0, 0, 0] == 0
    weights.network()
    save_weights(tmp_path / "theirs.safetensors", weights.config, weights.state, weights.sigma_range, weights.facts)
    assert load_weights(tmp_path / "theirs.safetensors").sigma_range == (25, 25)


def test_another_torch_file_is_no_checkpoint(tmp_path: Path) -> None:
    content = checkpoint()
    net = content["net"]
    short, long, wrong = dict(net), net | {"extra.weight": torch.zeros(1)}, net | {"blocks.0.conv1.bias": torch.zeros(3)}
    del short["nls.1.tempcnn.6.bias"]
    infinite = net | {"blocks.0.conv1.bias": torch.full((64,), torch.inf)}
    for number, bad in enumerate([{"net": short}, {"net": long}, {"net": wrong}, {"net": infinite}, {"state": net}, net, [1]]):
        torch.save(bad, tmp_path / f"{number}.t7")
        with pytest.raises(WeightsError):
            import_checkpoint(tmp_path / f"{number}.t7", 25)
    for name, data in (("empty", b""), ("text", b"hello"), ("picture", b"\x89PNG\r\n\x1a\n" + bytes(99))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(WeightsError, match="not a torch checkpoint"):
            import_checkpoint(tmp_path / name, 25)
    with pytest.raises(WeightsError, match="no file"):
        import_checkpoint(tmp_path / "absent", 25)


class Trap:
    """An object that writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (Path("/tmp/n3denoise-trap"),))


def test_nothing_but_tensors_is_unpickled(tmp_path: Path) -> None:
    torch.save({"net": Trap()}, tmp_path / "trap.t7")
    with pytest.raises(WeightsError, match="not a torch checkpoint"):
        import_checkpoint(tmp_path / "trap.t7", 25)
    assert not Path("/tmp/n3denoise-trap").exists()
