"""The studies: their pages are complete, their parts are right, and their scripts run."""

import gzip
import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from models.neighbors.selection import Relaxation, neighbor_weights
from studies import digits
from studies.__main__ import STUDIES
from studies.attention import Classifier
from studies.entanglement import score
from studies.points import as_written, distances, draw, error, exact_code, hard_neighbors, soft_neighbors
from studies.report import PAGES, Options, Report, spread
from studies.selection import ARRIVED, arrival
from studies.small_budget import CANDIDATES, NonLocalNet

TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES.glob("*.md")}


@pytest.mark.parametrize("page", TEXTS)
def test_pages_show_plots_that_exist_and_tables_that_are_filled(page: str) -> None:
    text = TEXTS[page]
    for target in re.findall(r"\]\((?!http)([^)]+)\)", text):
        assert (PAGES / target).is_file(), target
    blocks = re.findall(r"<!-- ([\w-]+) -->\n(.*?)<!-- /\1 -->", text, re.DOTALL)
    assert len(blocks) == text.count("<!-- /")
    for name, content in blocks:
        assert content.count("|") > 10, name


def test_every_plot_is_on_a_page_and_small() -> None:
    for plot in (path for path in PAGES.iterdir() if path.suffix in (".svg", ".png")):
        assert any(f"({plot.name})" in text for text in TEXTS.values()), plot.name
        assert plot.stat().st_size < 300_000, plot.name


def test_a_table_goes_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Before\n\n<!-- a -->\nold\n<!-- /a -->\n\nafter\n")
    report = Report(Options(tmp_path), "page.md")
    for _ in range(2):  # a second run changes nothing
        report.table("a", ("x", "long head"), [["1", "2"]])
        expected = "| x | long head |\n| - | --------- |\n| 1 | 2         |"
        assert page.read_text() == f"Before\n\n<!-- a -->\n{expected}\n<!-- /a -->\n\nafter\n"
    report.block("b", "text with \\1")
    assert page.read_text().endswith("<!-- b -->\ntext with \\1\n<!-- /b -->\n")


def test_the_same_plot_is_the_same_file(tmp_path: Path) -> None:
    files = []
    for run in ("one", "two"):
        report = Report(Options(tmp_path / run), "page.md")
        with report.figure("plot", 2, 2) as figure:
            figure.subplots().plot([1, 2], label="x")
        files.append((tmp_path / run / "plot.svg").read_bytes())
    assert files[0] == files[1]
    assert b"<svg" in files[0]


def test_spread() -> None:
    assert spread([1.0, 2.0, 6.0]) == "3.00 (1.00 to 6.00)"


def test_cold_selection_of_3000_points_is_hard() -> None:
    """Distributions sum to 1 within 1e-5 at T = 1e-8, and the mean error against scikit-learn is below 1e-6."""
    points = draw("normal", 3000)
    errors = []
    for queries in torch.arange(3000).split(500):
        weights, neighbors = soft_neighbors(points, distances(points, queries), 1e-8, "paper")
        assert (weights.sum(1) - 1).abs().max() < 1e-5
        errors.append(error(neighbors, hard_neighbors(points, queries)))
    assert sum(errors) / len(errors) < 1e-6


@pytest.mark.parametrize("relaxation", ["paper", "code"])
def test_forms_written_out_are_the_selection_where_nothing_is_rounded(relaxation: Relaxation) -> None:
    points = draw("normal", 12).double()
    apart = distances(points, torch.arange(12))
    expected = neighbor_weights(apart[None], 1.0, 3, relaxation)[0]
    torch.testing.assert_close(as_written(apart, 1.0, relaxation), expected)
    if relaxation == "code":
        torch.testing.assert_close(exact_code(apart, 1.0), expected)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_arrival_is_where_the_error_falls_for_good(form: Relaxation) -> None:
    points = draw("normal", 10)
    queries, temperature = torch.arange(10), arrival(points, form)
    apart, hard = distances(points.double(), queries), hard_neighbors(points.double(), queries)
    below, above = (error(soft_neighbors(points.double(), apart, t, form)[1], hard) for t in (temperature, 1.25 * temperature))
    assert below <= ARRIVED < above


def test_heat_sums_to_the_logits() -> None:
    torch.manual_seed(0)
    network, images = Classifier(8, blocks=True).eval(), torch.rand(3, 1, 8, 8)
    classes = torch.tensor([1, 9, 4])
    logits = network(images).gather(1, classes[:, None])[:, 0]
    torch.testing.assert_close(network.heat(images, classes).sum((1, 2)) + network.head.bias[classes], logits)


def test_hard_neighbors_by_hand() -> None:
    points = torch.tensor([0.0, 1.0, 1.5, 4.0, 9.0])
    found = hard_neighbors(points, torch.tensor([1, 4]), 2).sort().values
    assert found.tolist() == [[0.0, 1.5], [1.5, 4.0]]


def test_perfect_clusters_score_one() -> None:
    labels = torch.arange(40) % 10
    data = digits.Digits(torch.empty(0), torch.empty(0), torch.empty(0), labels)
    accuracy, nmi = score(torch.nn.functional.one_hot((labels + 3) % 10).float(), data, 0)
    assert accuracy == 1
    assert nmi == pytest.approx(1)


def test_digits() -> None:
    data = digits.load(None)
    assert data.images.shape == (1198, 1, 8, 8)
    assert data.held_images.shape == (599, 1, 8, 8)
    assert data.images.min() == 0
    assert data.images.max() == 1
    assert data.labels.unique().tolist() == list(range(10))


def test_idx_files(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    written = {}
    for part, number in (("train", 6), ("t10k", 3)):
        images = generator.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, number, dtype=np.uint8)
        written[part] = images, labels
        header = b"\0\0\x08\3" + np.array(images.shape, ">u4").tobytes()
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        packed = gzip.compress(b"\0\0\x08\1" + np.array(labels.shape, ">u4").tobytes() + labels.tobytes())
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(packed)
    data = digits.load(tmp_path)
    torch.testing.assert_close(data.images[:, 0] * 255, torch.from_numpy(written["train"][0]).float())
    assert data.held_labels.tolist() == written["t10k"][1].tolist()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\3")
    with pytest.raises(ValueError, match="train-images"):
        digits.load(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match="no t10k-labels"):
        digits.read_idx(tmp_path, "t10k-labels-idx1")


def test_the_small_denoisers_have_as_many_convolutions() -> None:
    networks = [candidate.build() for candidate in CANDIDATES]
    counts = [sum(isinstance(layer, torch.nn.Conv2d) for layer in net.dncnns.modules()) for net in networks]
    assert counts == [10, 10, 10]
    noisy = torch.rand(1, 1, 30, 25, generator=torch.Generator().manual_seed(0))
    assert all(net(noisy).shape == noisy.shape for net in networks)
    assert isinstance(networks[1], NonLocalNet)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_scripts_run(name: str, tmp_path: Path) -> None:
    importlib.import_module(f"studies.{name}").run(Options(tmp_path, quick=True))
    drawn = {path.name for path in tmp_path.iterdir()}
    assert any(name.endswith((".svg", ".png")) for name in drawn)
    assert drawn <= {path.name for path in PAGES.iterdir()}


@pytest.mark.slow
def test_ten_thousand_points_in_full_take_less_than_500_megabytes() -> None:
    cost = importlib.import_module("studies.selection_cost")
    *_, (_, _, memory) = cost.in_fresh_process(cost.all_points, (100, 10_000))
    assert memory < 500
