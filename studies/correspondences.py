"""Correct and wrong matches of two pictures, with and without N3 blocks; `python -m studies.correspondences` fills the page.

The trainings take several minutes of one core. A run folder that is finished is not trained again.
"""

import argparse
import csv
import importlib.util
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from models.correspondences.estimation import NOISE_PIXELS, estimate_essential
from models.correspondences.geometry import eight_point, recover_pose
from models.correspondences.objective import match_weights
from models.correspondences.scenes import Pairs, SceneOptions, draw_pairs
from models.correspondences.scores import THRESHOLDS, mean_average_precision, pose_errors
from models.correspondences.training import CURVE, WEIGHTS, MatchRecipe, train_matches
from models.networks.correspondence_net import CorrespondenceConfig
from models.weights.files import load_weights
from studies import motorcycle
from studies.ransac import NOTHING, opencv_usac, scikit_image_ransac
from studies.report import PAGES, Options, Report, spread

TEST_SEED = 1_000_000
TEST_PAIRS = 200
RUNS = Path("runs") / "correspondences"
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Bounds of the outlier shares by which the pairs are grouped."""

Estimate = Callable[[Pairs], tuple[Tensor, Tensor]]
"""A method: from a single pair of views, to a matrix (1, 3, 3) and weights of the matches (1, N) for the choice of the pose."""


@dataclass(frozen=True)
class Score:
    """How well a method estimates poses.

    Attributes:
        errors: The error for each pair in degrees, infinite where there is no pose.
        seconds: Processor time for a pair.
    """

    errors: Tensor
    seconds: float


@dataclass(frozen=True)
class Candidate:
    """A network to train.

    Attributes:
        name: Its name on the page and, in small letters with hyphens, of its run folders.
        config: Its configuration.
        steps: Number of steps. The two that are compared get the same processor time, so the one without N3 takes more steps.
        seeds: Seeds of its trainings.
    """

    name: str
    config: CorrespondenceConfig
    steps: int
    seeds: tuple[int, ...] = (0, 1, 2)


CANDIDATES = (
    Candidate("with N3", CorrespondenceConfig(), 2500),  # with seed 0, these are the shipped weights
    Candidate("without N3", CorrespondenceConfig(n3_blocks=0), 5000),
)


def main() -> None:
    """Train what is not trained yet, evaluate, and fill the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the run folders")
    parser.add_argument("--out", type=Path, default=PAGES, help="folder of the page and the plot")
    parser.add_argument("--train-only", action="store_true", help="train, and leave the page alone")
    parser.add_argument("--quick", action="store_true", help="use tiny sizes, only to check that everything runs")
    arguments = parser.parse_args()
    options = Options(arguments.out, arguments.quick)
    train(arguments.runs, quick=options.quick)
    if not arguments.train_only:
        run(options, arguments.runs)


def train(runs: Path, *, quick: bool) -> None:
    """Train all candidates with all of their seeds."""
    for candidate in CANDIDATES:
        for seed in candidate.seeds:
            recipe = MatchRecipe(steps=candidate.steps, seed=seed)
            if quick:
                recipe = replace(recipe, steps=4, batch=2, scenes=SceneOptions(matches=32))
            folder = run_folder(runs, candidate, seed)
            print(f"== {folder}", flush=True)
            train_matches(folder, candidate.config, recipe, every=2 if quick else 50, report=lambda row: print(row, flush=True))


def run_folder(runs: Path, candidate: Candidate, seed: int) -> Path:
    """Return the run folder of a training."""
    return runs / f"{candidate.name.lower().replace(',', '').replace(' ', '-')}-{seed}"


def finished(runs: Path, candidate: Candidate) -> list[Path]:
    """Return the run folders of a candidate whose training is finished."""
    folders = [run_folder(runs, candidate, seed) for seed in candidate.seeds]
    return [folder for folder in folders if (folder / WEIGHTS).is_file()]


def run(options: Options, runs: Path) -> None:
    """Evaluate the trained networks and the methods without a network; fill the tables and draw the curve.

    The errors of a method that are in the folder of the runs are not computed again.
    """
    report = Report(options, "correspondences.md")
    scenes = SceneOptions(matches=32) if options.quick else SceneOptions()
    pairs = draw_pairs(scenes, 4 if options.quick else TEST_PAIRS, torch.Generator().manual_seed(TEST_SEED))
    scores = {name: [score(pairs, method, runs / f"{file}.pt") for file, method in each] for name, each in methods(runs).items()}
    precision_table(report, scores)
    share_table(report, scores, pairs)
    classes_table(report, runs, pairs)
    draw_curve(report, runs)
    motorcycle.run(report, "orb" if options.quick else "sift", 1.0)


def methods(runs: Path) -> dict[str, list[tuple[str, Estimate]]]:
    """Return the methods by their names on the page: one for each seed, with the name of a file for its errors."""
    named: dict[str, list[tuple[str, Estimate]]] = {"all matches": [("all", all_matches)]}
    named["all matches, samples"] = [("all-samples", sampling(all_matches))]
    named["RANSAC (scikit-image)"] = [("ransac", scikit_image_ransac)]
    if importlib.util.find_spec("cv2"):
        named["USAC (OpenCV)"] = [("usac", opencv_usac)]
    for candidate in CANDIDATES:
        estimates = [(folder.name, by_network(folder / WEIGHTS)) for folder in finished(runs, candidate)]
        if not estimates:
            continue
        named[f"network {candidate.name}"] = estimates
        named[f"network {candidate.name}, samples"] = [(f"{file}-samples", sampling(each)) for file, each in estimates]
    return named


def all_matches(pair: Pairs) -> tuple[Tensor, Tensor]:
    """Estimate from all matches, as if every one were correct."""
    weights = torch.ones(pair.matches.shape[:2], dtype=torch.float64)
    return eight_point(pair.matches.double(), weights), weights


def by_network(path: Path) -> Estimate:
    """Return the method of Yi et al.: the weighted eight-point algorithm, with the weights that a network gives."""
    network = load_weights(path).network()

    @torch.inference_mode()
    def estimate(pair: Pairs) -> tuple[Tensor, Tensor]:
        weights = match_weights(network(pair.matches)).double()
        return eight_point(pair.matches.double(), weights), weights

    return estimate


def sampling(estimate: Estimate) -> Estimate:
    """Return a method that draws samples by the weights of another one, as `n3denoise match` does."""

    def both(pair: Pairs) -> tuple[Tensor, Tensor]:
        weights = estimate(pair)[1][0]
        if (weights > 0).sum() < 8:
            return NOTHING, weights[None]
        essential, last = estimate_essential(pair.matches[0].double(), weights, NOISE_PIXELS * pair.pixel.item())
        return essential[None], last[None]

    return both


def score(pairs: Pairs, estimate: Estimate, file: Path) -> Score:
    """Return the pose errors of a method, from a file if it has them."""
    if file.is_file():
        return Score(**torch.load(file, weights_only=True))
    errors, began = [], time.process_time()
    for pair in pairs.each():
        matrix, weights = estimate(pair)
        if matrix.isfinite().all():
            pose = recover_pose(matrix, pair.matches.double(), weights)
            errors.append(pose_errors(*pose, pair.rotation.double(), pair.translation.double()))
        else:
            errors.append(torch.tensor([torch.inf], dtype=torch.float64))
    result = Score(torch.cat(errors), (time.process_time() - began) / len(errors))
    torch.save(asdict(result), file)
    print(f"  {file.stem}: {100 * mean_average_precision(result.errors, THRESHOLDS[-1]):.1f}", flush=True)
    return result


def precision_table(report: Report, scores: dict[str, list[Score]]) -> None:
    """Write the mean average precision of each method, in percent, with the spread over the seeds, and the time for a pair."""
    rows = []
    for name, each in scores.items():
        precisions = [[100 * mean_average_precision(one.errors, degrees) for one in each] for degrees in THRESHOLDS]
        rows.append([name, *map(spread_or_single, precisions), f"{1000 * min(one.seconds for one in each):.1f}"])
    report.table("map", ("method", *(f"mAP {degrees}°" for degrees in THRESHOLDS), "ms for a pair"), rows)


def spread_or_single(values: Sequence[float]) -> str:
    """Return the spread of the values, or the value if there is only one."""
    return spread(values, ".1f") if len(values) > 1 else f"{values[0]:.1f}"


def share_table(report: Report, scores: dict[str, list[Score]], pairs: Pairs) -> None:
    """Write the mean average precision up to 20 degrees for pairs with few and with many wrong matches."""
    wrong = 1 - pairs.correct.double().mean(1)
    group = torch.bucketize(wrong, torch.tensor(SHARES[1:-1]).double(), right=True)
    rows = []
    for name, each in scores.items():
        means = [
            [100 * mean_average_precision(one.errors[group == index], THRESHOLDS[-1]) for one in each]
            for index in range(len(SHARES) - 1)
        ]
        rows.append([name, *(f"{sum(values) / len(values):.1f}" for values in means)])
    head = [f"{100 * low:.0f}-{100 * high:.0f} %" for low, high in itertools.pairwise(SHARES)]
    report.table("shares", ("wrong matches", *head), rows)


def classes_table(report: Report, runs: Path, pairs: Pairs) -> None:
    """Write how well the networks tell correct from wrong matches, whatever the pose."""
    rows = []
    for candidate in CANDIDATES:
        figures = []
        for folder in finished(runs, candidate):
            logits = classify(load_weights(folder / WEIGHTS).network(), pairs)
            chosen, correct = logits > 0, pairs.correct
            hits = (chosen & correct).sum().item()
            precision, recall = hits / max(1, int(chosen.sum())), hits / int(correct.sum())
            figures.append((100 * precision, 100 * recall, 100 * 2 * precision * recall / max(1e-9, precision + recall)))
        if figures:
            rows.append([candidate.name, *(spread_or_single(each) for each in zip(*figures, strict=True))])
    report.table("classes", ("network", "precision in %", "recall in %", "F1 in %"), rows)


@torch.inference_mode()
def classify(network: nn.Module, pairs: Pairs) -> Tensor:
    """Return the logits of all matches, (B, N)."""
    return torch.cat([network(pair.matches) for pair in pairs.each()])


def draw_curve(report: Report, runs: Path) -> None:
    """Draw the loss of classification over the course of the trainings."""
    with report.figure("correspondences-curve", 7.5, 3.4) as figure:
        axis = figure.subplots()
        for candidate, color in zip(CANDIDATES, ("C0", "C1"), strict=True):
            for index, folder in enumerate(finished(runs, candidate)):
                with (folder / CURVE).open(encoding="utf-8") as file:
                    rows = list(csv.DictReader(file))
                steps = [int(row["step"]) for row in rows]
                losses = [float(row["classification"]) for row in rows]
                axis.plot(steps, losses, color=color, alpha=0.7, label=None if index else candidate.name)
        axis.set(xlabel="step", ylabel="loss of classification", xscale="log")
        axis.legend()


if __name__ == "__main__":
    main()
