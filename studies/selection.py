"""The relaxed selection compared with hard k-nearest neighbors as the temperature falls."""

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from models.neighbors.selection import Relaxation
from studies.points import (
    K,
    Kind,
    as_written,
    distances,
    draw,
    error,
    exact_code,
    hard_neighbors,
    neighborhood_range,
    soft_neighbors,
    some_queries,
)
from studies.report import Options, Report

FORMS: tuple[Relaxation, Relaxation] = ("paper", "code")
COLORS = {"paper": "C0", "code": "C1", "code, exact": "C2"}
ARRIVED = 1e-2  # mean error, in units of the spacing of the points, below which the selection counts as hard


def run(options: Options) -> None:
    report = Report(options, "selection.md")
    sizes = (10, 30, 300) if options.quick else (10, 30, 3000)
    curves(report, sizes)
    distributions(report)
    threshold(report, options.quick)
    acceptance(report, sizes[-1])


def curves(report: Report, sizes: tuple[int, ...]) -> None:
    """Draw neighborhood range and error over T for both kinds of points (figures 2, 3 and 8-10 of the replicated report)."""
    temperatures = np.logspace(4, -7, 34)
    kinds: tuple[Kind, Kind] = ("even", "normal")
    for kind in kinds:
        with report.figure(f"selection-{kind}", height=5.2) as figure:
            axes = figure.subplots(2, len(sizes), sharex=True)
            for column, number in enumerate(sizes):
                points = draw(kind, number)
                queries = some_queries(number, 300)
                hard, apart = hard_neighbors(points, queries), distances(points, queries)
                for name in ("paper", "code", "code, exact"):
                    found = [selected(name, points, apart, t) for t in temperatures]
                    axes[0, column].plot(temperatures, [neighborhood_range(z) for z in found], COLORS[name], label=name)
                    axes[1, column].plot(temperatures, [error(z, hard) for z in found], COLORS[name])
                axes[0, column].axhline(neighborhood_range(hard), color="k", ls=":", label="hard kNN")
                axes[0, column].set(title=f"N = {number}", xscale="log")
                axes[1, column].set(xscale="log", xlabel="temperature T")
                axes[1, column].set_yscale("symlog", linthresh=1e-6)
                axes[1, column].set_ylim(0, None)
                axes[1, column].invert_xaxis()
            axes[0, 0].set_ylabel("neighborhood range")
            axes[1, 0].set_ylabel("mean distance to\nthe nearest hard neighbor")
            handles, names = axes[0, 0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside upper center", ncols=4)


def selected(name: str, points: Tensor, apart: Tensor, temperature: float) -> Tensor:
    """Return the soft neighbors, (M, K), of the form with this name in the legend."""
    if name == "code, exact":
        return torch.einsum("mnk,n->mk", exact_code(apart, temperature), points)
    return soft_neighbors(points, apart, temperature, "paper" if name == "paper" else "code")[1]


def distributions(report: Report) -> None:
    """Draw the K distributions of one query at falling T (figure 4 of the replicated report)."""
    number, query = 10, 4
    points = draw("even", number)
    apart = distances(points, torch.tensor([query]))
    temperatures = (10.0, 1.0, 0.1, 0.01, 1e-4)
    with report.figure("selection-distributions", height=5.0) as figure:
        axes = figure.subplots(3, len(temperatures), sharex=True, sharey=True)
        for (row, name), (column, temperature) in itertools.product(enumerate(COLORS), enumerate(temperatures)):
            if name == "code, exact":
                weights = exact_code(apart, temperature)[0]
            else:
                weights = soft_neighbors(points, apart, temperature, "paper" if name == "paper" else "code")[0][0]
            for j in range(K):
                axes[row, column].bar(np.arange(number) + 0.28 * (j - 1), weights[:, j].tolist(), 0.28, label=f"w{j + 1}")
            axes[0, column].set_title(f"T = {temperature:g}")
            axes[-1, column].set_xlabel("point")
            axes[row, 0].set_ylabel(name)
            axes[row, column].set_xticks(range(0, number, 3))
        axes[0, -1].legend()


def threshold(report: Report, quick: bool) -> None:
    """Draw the highest T at which the selection is hard over the noise on the points (figure 6 of the replicated report)."""
    noises = np.logspace(-3, -0.5, 6 if quick else 16)
    with report.figure("selection-threshold", height=3.4) as figure:
        axes = figure.subplots(1, 2, sharey=True)
        rows = []
        for axis, fixed in zip(axes, (True, False), strict=True):
            for form in FORMS:
                found = [arrival(draw("even", 30, noise, 0 if fixed else seed), form) for seed, noise in enumerate(noises)]
                slope, offset = np.polyfit(np.log10(noises), np.log10(found), 1)
                off = np.log10(found) - (slope * np.log10(noises) + offset)
                axis.loglog(noises, found, COLORS[form] + "o", ms=4, label=form)
                axis.loglog(noises, 10**offset * noises**slope, COLORS[form])
                seeds = "same seed" if fixed else "new seed for each level"
                rows.append([seeds, form, f"{slope:.2f}", f"{10**offset:.2g}", f"{off.std():.2f}"])
            axis.set(xlabel="noise on the points", title="the same seed" if fixed else "a new seed for each level")
            axis.legend()
        axes[0].set_ylabel("threshold temperature")
    report.table("threshold", ("seeds", "form", "exponent of the noise", "T at noise 1", "spread (decades)"), rows)


def arrival(points: Tensor, form: Relaxation) -> float:
    """Return the highest T of a fine grid at and below which the error does not exceed `ARRIVED`."""
    points = points.double()
    queries = torch.arange(len(points))
    hard, apart = hard_neighbors(points, queries), distances(points, queries)
    best = math.nan
    for temperature in np.logspace(-9, 1, 121):
        neighbors = soft_neighbors(points, apart, temperature, form)[1]
        if error(neighbors, hard) > ARRIVED:
            break
        best = temperature
    return best


def acceptance(report: Report, number: int) -> None:
    """Measure the sums of the distributions and the error for all queries of the largest set at T = 1e-8."""
    rows = []
    kinds: tuple[Kind, Kind] = ("even", "normal")
    for kind, squared, form in itertools.product(kinds, (False, True), FORMS):
        points = draw(kind, number)
        off, literal_off, weights_error = 0.0, 0.0, 0.0
        hard = hard_neighbors(points, torch.arange(number))
        for some in torch.arange(number).split(500):
            apart = distances(points, some, squared)
            weights, neighbors = soft_neighbors(points, apart, 1e-8, form)
            off = max(off, (weights.sum(1) - 1).abs().max().item())
            literal = as_written(apart, 1e-8, form).sum(1)
            literal_off = max(literal_off, (literal - 1).abs().max().item())
            weights_error += error(neighbors, hard[some]) * len(some) / number
        distance = "squared" if squared else "Euclidean"
        rows.append([kind, distance, form, f"{off:.1e}", f"{literal_off:.1e}", f"{weights_error:.1e}"])
    head = (
        *("points", "distance", "form", "largest deviation of the sums from 1", "the same, equations taken literally"),
        "mean error against hard kNN",
    )
    report.table("acceptance", head, rows)
