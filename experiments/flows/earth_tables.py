"""The tables of the earth-science sets: every method beside what is published."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from experiments._run import date_and_revision, markdown_table
from experiments.flows import data


Method = Literal[
    "uniform",
    "von Mises-Fisher mixture",
    "kernel density",
    "adaptive kernel density",
    "wrapped flow",
    "stereographic flow",
    "flow",
    "flow and adaptive kernel density",
]
METHODS: tuple[Method, ...] = Method.__args__  # type: ignore[attr-defined]
EARTH_SETS: tuple[data.Name, ...] = ("volcano", "earthquake", "flood", "fire")
# test NLL in nats on raw splits, of these sets
PUBLISHED = """
mixture of von Mises-Fisher (Mathieu & Nickel 2020) | -0.31 ± .07 | 0.59 ± .01 | 1.09 ± .01 | -0.23 ± .02
stereographic CNF (Mathieu & Nickel 2020) | -0.64 ± .20 | 0.43 ± .06 | 0.99 ± .04 | -0.40 ± .06
Riemannian CNF (Mathieu & Nickel 2020) | -0.97 ± .15 | 0.18 ± .05 | 0.90 ± .03 | -0.66 ± .05
Riemannian CNF (as rerun by De Bortoli et al. 2022) | -6.05 ± .61 | 0.14 ± .23 | 1.11 ± .19 | -0.80 ± .54
Moser flow (as rerun by De Bortoli et al. 2022) | -4.21 ± .17 | -0.16 ± .06 | 0.57 ± .10 | -1.28 ± .05
Riemannian score-based model (De Bortoli et al. 2022) | -4.92 ± .25 | -0.19 ± .07 | 0.45 ± .17 | -1.33 ± .06
Riemannian diffusion model (Huang et al. 2022) | -6.61 ± .96 | -0.40 ± .05 | 0.43 ± .07 | -1.38 ± .05
Riemannian flow matching (Chen & Lipman 2024) | -7.93 ± 1.67 | -0.28 ± .08 | 0.42 ± .05 | -1.86 ± .11
"""


@dataclass(frozen=True)
class Cell:
    """One number of the table."""

    set: data.Name
    split: str
    seed: int
    fraction: float
    method: Method

    @property
    def folder(self) -> str:
        part = "" if self.fraction == 1 else f"-part{self.fraction:g}"
        return f"{self.set}-{self.split}{part}/seed{self.seed}/{folder_name(self.method)}"


def folder_name(method: Method) -> str:
    """A method's folder."""
    return method.replace(" ", "-").lower()


def tables(found: dict[Cell, dict[str, Any]]) -> str:
    """One table for each kind of split, the published rows below the raw one; the cost of ours."""
    whole = {cell: r for cell, r in found.items() if cell.fraction == 1}
    text = []
    for split in dict.fromkeys(cell.split for cell in whole):
        mine = {cell: r for cell, r in whole.items() if cell.split == split}
        text += [
            f"Test negative log-likelihood, nats with respect to area, {split} splits (points to train on); mean ± "
            "standard deviation over the seeds, their number in brackets where it is not 5",
            markdown_table(split_rows(mine, PUBLISHED if split == "raw" else "")),
        ]
    ours = [run_row(cell, r) for cell, r in whole.items() if cell.method == "flow"]
    if ours:
        text += [
            "Ours, run by run; copies: test points that are training points too; solver error: the log-densities', on "
            "average, against a tenth of the tolerances; by RK4-8: what eight even steps in t would read:",
            markdown_table(ours),
        ]
    return "\n\n".join(text)


def split_rows(found: dict[Cell, dict[str, Any]], published: str) -> list[dict[str, str]]:
    """Every method and its likelihoods, then what is published."""
    sets = [name for name in data.Name.__args__ if any(cell.set == name for cell in found)]
    counts = {cell.set: r["train_points"] for cell, r in found.items()}

    def row(method, cell_of):
        return {"": method, **{f"{name} ({counts[name]})": cell_of(name) for name in sets}}

    def ours(method, name):
        return summary([r["test"] for c, r in found.items() if (c.set, c.method) == (name, method)])

    methods = [method for method in METHODS if any(cell.method == method for cell in found)]
    rows = [row(method, partial(ours, method)) for method in methods]
    if set(sets) & set(EARTH_SETS):
        for line in published.strip().splitlines():
            source, *values = line.split(" | ")
            known = dict(zip(EARTH_SETS, values, strict=True))
            rows.append(row(source, lambda name, known=known: known.get(name, "")))
    return rows


def run_row(cell: Cell, r: dict[str, Any]) -> dict[str, object]:
    """One of our flows."""
    return {
        "set": cell.set,
        "split": cell.split,
        "seed": cell.seed,
        **{name: f"{r[name]:z.3f}" for name in ("test", "validation", "train")},
        "% copies": f"{100 * r['copies']:.1f}" if "copies" in r else "",
        "CPU s": f"{r['cpu_seconds']:.0f}",
        "NFE": f"{r['evaluations']:.0f}",
        "solver error": f"{r['solver_error']:.1e}",
        "by RK4-8": f"{r['by_rk4_8']:z.3f}",
        "revision": date_and_revision(r)["revision"],
    }


def summary(values: list[float]) -> str:
    """Mean ± standard deviation."""
    if not values:
        return "not run"
    if len(values) == 1:
        return f"{values[0]:z.2f} (1)"
    count = "" if len(values) == 5 else f" ({len(values)})"
    return f"{np.mean(values):z.2f} ± {np.std(values, ddof=1):.2f}{count}"
