"""Numerics of the selection: float32 and the equations taken literally, sizes of gradients, and one distribution instead of K."""

import math

import numpy as np
import torch
from torch import Tensor

from models.neighbors.membership import neighbor_membership
from models.neighbors.selection import Relaxation, neighbor_weights
from studies.points import K, Kind, as_written, distances, draw, exact_code, hard_neighbors, soft_neighbors, some_queries
from studies.report import Options, Report

FORMS: tuple[Relaxation, Relaxation] = ("paper", "code")


def run(options: Options) -> None:
    report = Report(options, "selection.md")
    number = 60 if options.quick else 300
    sums(report, number)
    gradients(report, number)
    membership(report, number)


def sums(report: Report, number: int) -> None:
    """Draw the smallest and the largest sum of a distribution over T, for the literal equations and with re-centered logits."""
    temperatures = np.logspace(0, -9, 73)
    points = draw("even", number, 1e-3)
    queries = some_queries(number, number)
    apart = distances(points, queries)
    rows = []
    with report.figure("selection-sums") as figure:
        axes = figure.subplots(1, 2, sharey=True)
        for axis, form in zip(axes, FORMS, strict=True):
            written = [as_written(apart, t, form) for t in temperatures]
            centered = [soft_neighbors(points, apart, t, form)[0].sum(1) for t in temperatures]
            axis.fill_between(
                temperatures,
                [w.sum(1).min().item() for w in written],
                [w.sum(1).max().item() for w in written],
                color="C3",
                alpha=0.5,
                label="as written",
            )
            for bound in (torch.amin, torch.amax):
                axis.plot(
                    temperatures, [bound(s).item() for s in centered], "k", label="re-centered" if bound is torch.amin else None
                )
            axis.axhline(2 / math.e, color="C3", ls=":", lw=1)
            axis.annotate("2 / e", (1, 2 / math.e), va="bottom", color="C3")
            axis.set(xscale="log", xlabel="temperature T", title=form)
            axis.invert_xaxis()
            axis.legend(loc="upper left")
            wrong = [((w.sum(1) - 1).abs() > 0.01).any(1).float().mean().item() for w in written]
            eths = [int(((w - 1 / math.e).abs() < 1e-6).sum()) for t, w in zip(temperatures, written, strict=True) if t < 1e-5]
            off = max((s - 1).abs().max().item() for s in centered)
            least, most = min(w.sum(1).min() for w in written), max(w.sum(1).max() for w in written)
            rows.append([form, f"{least:.4f} to {most:.4f}", f"{max(wrong):.1%}", f"{max(eths)}", f"{off:.1e}"])
        axes[0].set_ylabel("sums of the distributions")
    head = (
        *("form", "sums, equations taken literally", "queries with sums off by more than 0.01, at worst"),
        *("weights equal to 1/e = 0.3679", "largest deviation from 1, re-centered"),
    )
    report.table("sums", head, rows)


def gradients(report: Report, number: int) -> None:
    """Draw the norm of the derivative of a soft neighbor by the distances, median and maximum over the queries, over T."""
    temperatures = np.logspace(1, -6, 43)
    kinds: tuple[Kind, Kind] = ("even", "normal")
    with report.figure("selection-gradients") as figure:
        axes = figure.subplots(1, 2, sharey=True)
        rows = []
        for axis, kind in zip(axes, kinds, strict=True):
            points = draw(kind, number).double()
            apart = distances(points, some_queries(number, number))
            for color, name in enumerate(("paper", "code", "membership")):
                sizes = torch.stack([gradient_sizes(name, points, apart, t) for t in temperatures])  # (T, M)
                middle, largest = sizes.median(1).values, sizes.amax(1)
                axis.plot(temperatures, largest.tolist(), f"C{color}", label=f"{name}, maximum")
                axis.plot(temperatures, middle.tolist(), f"C{color}--", label=f"{name}, median")
                relative = largest * torch.from_numpy(temperatures)
                gone = temperatures[(middle < 1e-6).numpy()].max()
                rows.append([kind, name, f"{largest.max():.1g}", f"{relative.max():.1g}", f"{gone:.1g}"])
            axis.set(xscale="log", yscale="log", xlabel="temperature T", title=kind, ylim=(1e-6, 1e6))
            axis.invert_xaxis()
        axes[0].set_ylabel("norm of the gradient")
        axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    head = ("points", "form", "largest gradient at any T", "largest gradient times T", "T from which the median is below 1e-6")
    report.table("gradients", head, rows)


def gradient_sizes(name: str, points: Tensor, apart: Tensor, temperature: float) -> Tensor:
    """Return for each query, (M,), the norm of d z_K / d distances, or of d (mean of the members) / d distances."""
    leaf = apart.detach().clone().requires_grad_()
    if name == "membership":
        soft = neighbor_membership(leaf, temperature, K) @ points / K
    else:
        soft = neighbor_weights(leaf[None], temperature, K, "paper" if name == "paper" else "code")[0, :, :, -1] @ points
    (gradient,) = torch.autograd.grad(soft.sum(), leaf)
    sizes: Tensor = gradient.norm(dim=1)
    return sizes


def membership(report: Report, number: int) -> None:
    """Compare the probability of being among the K nearest with the sum of the K distributions."""
    points = draw("normal", number)
    queries = some_queries(number, number)
    apart = distances(points, queries)
    hard = (hard_neighbors(points, queries)[:, :, None] == points).any(1).float()
    temperatures = np.logspace(2, -7, 46)
    curves: dict[str, list[Tensor]] = {"membership": [], "paper, summed": [], "code, summed": [], "code, exact, summed": []}
    for t in temperatures:
        curves["membership"].append(neighbor_membership(apart, t, K))
        curves["paper, summed"].append(soft_neighbors(points, apart, t, "paper")[0].sum(2))
        curves["code, summed"].append(soft_neighbors(points, apart, t, "code")[0].sum(2))
        curves["code, exact, summed"].append(exact_code(apart, t).sum(2))
    with report.figure("selection-membership", height=3.6) as figure:
        bars, peak, off = figure.subplots(1, 3)
        chosen, t = number // 3, 0.03
        near = apart[chosen].topk(9, largest=False).indices.sort().values
        for color, (name, values) in enumerate(curves.items()):
            index = int(np.abs(temperatures - t).argmin())
            bars.bar(np.arange(9) + 0.21 * (color - 1.5), values[index][chosen][near].tolist(), 0.21, label=name)
            peak.plot(temperatures, [v.max().item() for v in values], label=name)
            off.plot(temperatures, [(v - hard).abs().sum(1).mean().item() / (2 * K) for v in values], label=name)
        bars.set(title=f"one query, T = {temperatures[index]:.2g}", xlabel="its nearest points, in order", ylabel="weight")
        peak.set(title="largest value", xscale="log", xlabel="temperature T")
        off.set(title="share outside the hard set", xscale="log", xlabel="temperature T")
        for axis in (peak, off):
            axis.invert_xaxis()
        figure.legend(*peak.get_legend_handles_labels(), loc="outside upper center", ncols=len(curves))
    rows = []
    for name, values in curves.items():
        sums_off = max((v.sum(1) - K).abs().max().item() for v in values)
        outside = (values[-1] - hard).abs().sum(1).mean().item() / (2 * K)
        rows.append([name, f"{sums_off:.0e}", f"{max(v.max().item() for v in values):.2f}", f"{outside:.3f}"])
    head = (
        "distribution",
        f"largest deviation of the sum from {K}",
        "largest value at any T",
        f"share outside the hard set at T = {temperatures[-1]:.0e}",
    )
    report.table("membership", head, rows)
