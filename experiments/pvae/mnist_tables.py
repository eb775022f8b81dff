"""The tables of MNIST: ours beside the paper's (Mathieu et al. 2019)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments import _grid
from experiments._run import date_and_revision, markdown_table, mean_and_error
from experiments.pvae import models, pictures
from geodl import train


Model = tuple[models.Kind, float | None]
DIMS = (2, 5, 10, 20)
MARK = "<!-- table -->"
# -log p(x), IWAE-5000, for d = 2, 5, 10, 20 (Mathieu et al. 2019, table 2); None: not trainable by their code
PAPER: dict[Model, tuple[float | None, ...]] = {
    ("N-VAE", None): (144.5, 114.7, 100.2, 97.6),
    ("wrapped", 0.1): (143.9, 115.5, 100.2, 97.2),
    ("wrapped", 0.2): (144.2, 115.3, 100.0, 97.1),
    ("wrapped", 0.7): (143.8, 115.1, 100.2, 97.5),
    ("wrapped", 1.4): (144.0, 114.7, 100.7, 98.0),
    ("Riemannian", 0.1): (143.7, 115.2, 99.9, 97.0),
    ("Riemannian", 0.2): (143.8, 114.7, 99.7, 97.4),
    ("Riemannian", 0.7): (143.1, 114.1, 101.2, None),
    ("Riemannian", 1.4): (142.5, 115.5, None, None),
}


# digits 0 to 9: accuracy in percent of a classifier of the 2-d latents (the same, table 3)
PAPER_ACCURACY: dict[Model, tuple[int, ...]] = {
    ("N-VAE", None): (89, 97, 81, 75, 59, 43, 89, 78, 68, 57),
    ("Riemannian", 1.4): (94, 97, 82, 79, 69, 47, 90, 77, 68, 53),
}


@dataclass(frozen=True)
class Cell:
    """One model of the table."""

    kind: models.Kind
    dim: int
    c: float | None

    @property
    def folder(self) -> str:
        return f"{self.kind}{'' if self.c is None else f'-c{self.c}'}-d{self.dim}".lower()


@dataclass(frozen=True)
class Table:
    """The tables of a folder of results, in a page between two of its marks, and their picture."""

    results: str = "docs/results/mnist"
    page: str = "docs/results/mnist.md"
    picture: str = "docs/images/mnist_likelihoods.png"


def write_table(config: Table) -> None:
    """Put the tables of all results that there are into the page, and draw them."""
    page, found = Path(config.page), _grid.results(Cell, Path(config.results))
    parts = page.read_text().split(MARK)
    if len(parts) != 3:
        raise ValueError(f"{page} must have two marks {MARK}, has {len(parts) - 1}")
    before, _, after = parts
    tables = results_tables(found, "mnist")
    train.write_text(page, f"{before}{MARK}\n\n{tables}\n\n{MARK}{after}")
    ours = {cell: result["loss"] for cell, result in found.items()}
    paper = {cell: nats for cell, nats in published().items() if nats}
    pictures.likelihoods(Path(config.picture), ours, paper)
    print(tables)


def published() -> dict[Cell, float | None]:
    """The paper's likelihoods, by model."""
    return {
        Cell(kind, dim, c): nats
        for (kind, c), row in PAPER.items()
        for dim, nats in zip(DIMS, row, strict=True)
    }


def results_tables(results: dict[Cell, dict[str, Any]], source: str) -> str:
    """Ours beside the paper's: likelihoods; their parts; classification of the 2-d latents."""
    mnist = source == "mnist"
    ours: dict[Model, None] = {(cell.kind, cell.c): None for cell in results}
    dims = sorted({cell.dim for cell in results} | set(DIMS if mnist else ()))
    rows: list[dict[str, object]] = []
    paper = published()
    for kind, c in PAPER | ours if mnist else ours:
        row: dict[str, object] = {"model": label(kind, c)}
        for dim in dims:
            cell = Cell(kind, dim, c)
            found = results.get(cell)
            row[f"d={dim}"] = "–" if found is None else mean_and_error(found["loss"])
            if mnist:
                nats = paper.get(cell, "–")
                row[f"d={dim}, paper"] = f"{nats:.1f}" if isinstance(nats, float) else nats or "*"
        rows.append(row)
    in_order = sorted(results.items(), key=lambda item: (item[0].dim, item[0].kind, item[0].c or 0))
    tables = [
        f"−log p(x) in nats per test image of {source}, IWAE; mean ± its standard error over seeds; "
        "–: not run; *: the paper's code could not train it",
        markdown_table(rows),
        "The bounds and their parts, the latent units in use, and the run:",
        markdown_table(detail(*item) for item in in_order),
    ]
    accuracies = []
    for cell, result in results.items():
        if "accuracy" in result:
            name, theirs = label(cell.kind, cell.c), PAPER_ACCURACY.get((cell.kind, cell.c))
            accuracies.append(accuracy(name, 100 * np.array(result["accuracy"])))
            if mnist and theirs:
                accuracies.append(accuracy(f"{name} (paper)", np.array([theirs])))
    if accuracies:
        tables += [
            "Percent of each digit's test images that a classifier of the 2-d latents gets right, mean over seeds, "
            "the average ± its standard error over them:",
            markdown_table(accuracies),
        ]
    return "\n\n".join(tables)


def detail(cell: Cell, result: dict[str, Any]) -> dict[str, object]:
    """A row of the second table."""
    return {
        "d": cell.dim,
        "model": label(cell.kind, cell.c),
        "seeds": len(result["loss"]),
        "IWAE": mean_and_error(result["loss"]),
        "−ELBO": mean_and_error(result["negative_elbo"]),
        "reconstruction": mean_and_error(result["reconstruction"]),
        "KL": mean_and_error(result["kl"]),
        "active units": mean_and_error(result["active_units"]),
        **date_and_revision(result),
    }


def accuracy(name: str, percent: np.ndarray) -> dict[str, str]:
    """A row of the third table: (seeds, 10) by digit, and on average over the digits."""
    digits = {str(digit): f"{share:.0f}" for digit, share in enumerate(percent.mean(0))}
    return {"model": name, **digits, "average": mean_and_error(percent.mean(1))}


def label(kind: models.Kind, c: float | None) -> str:
    """A model's name in tables."""
    return kind if c is None else f"{kind}, c={c}"
