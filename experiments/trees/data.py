"""Taxonomies, generated or of WordNet's mammals, and edge lists of graphs."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Taxonomy(NamedTuple):
    """Names, and which of them stands above which."""

    names: list[str]
    pairs: np.ndarray
    """(m, 2) of (descendant, ancestor), the transitive closure"""
    edges: np.ndarray
    """of them those from child to parent"""

    def related(self) -> np.ndarray:
        """(n, n): whether the column's name stands above the row's."""
        above = np.zeros((len(self.names),) * 2, bool)
        above[self.pairs[:, 0], self.pairs[:, 1]] = True
        return above


def generated(seed: int = 0, depth: int = 5, widest: int = 6) -> Taxonomy:
    """A random tree: every node above the last level has 2 to `widest` children; names are paths, as 0.2.1."""
    rng, names, parents, level = np.random.default_rng(seed), ["0"], [-1], [0]
    for _ in range(depth):
        below = []
        for node in level:
            for k in range(rng.integers(2, widest + 1)):
                below.append(len(names))
                names.append(f"{names[node]}.{k}")
                parents.append(node)
        level = below
    pairs = []
    for node, parent in enumerate(parents):
        while parent >= 0:
            pairs.append((node, parent))
            parent = parents[parent]
    edges = [(node, parent) for node, parent in enumerate(parents) if parent >= 0]
    return Taxonomy(names, np.array(pairs), np.array(edges))


def mammals(folder: Path) -> Taxonomy:
    """WordNet's mammals: 1,181 names, 6,541 pairs (Nickel & Kiela 2017)."""
    path = folder / "wordnet_mammals" / "mammal_closure.tsv"
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    names = sorted({name for line in lines for name in line})
    number = {name: i for i, name in enumerate(names)}
    pairs = np.array([[number[low], number[high]] for low, high in lines])
    closure = Taxonomy([n.split(".")[0] for n in names], pairs, pairs)
    above = closure.related()
    covered = (above.astype(np.float32) @ above.astype(np.float32)) > 0  # with another between
    return closure._replace(edges=np.argwhere(above & ~covered))


def data_folder() -> Path | None:
    """What GEODL_DATA names."""
    name = os.environ.get("GEODL_DATA")
    return Path(name) if name else None


def load(data: str) -> tuple[str, Taxonomy]:
    """`generated`, `mammals`, or `auto`: the mammals where they are found."""
    folder = data_folder()
    if data == "auto":
        found = folder is not None and (folder / "wordnet_mammals").exists()
        data = "mammals" if found else "generated"
    if data == "generated":
        return data, generated()
    if data == "mammals" and folder is not None:
        return data, mammals(folder)
    raise ValueError(f"data is generated, mammals (in the folder GEODL_DATA) or auto, got {data!r}")


def graph(name: str) -> np.ndarray:
    """Edges (m, 2) of a graph of Sala et al. 2018, in GEODL_DATA/graphs; `binary` and `taxonomy` are generated."""
    if name == "binary":  # 511 nodes, depth 8
        return np.stack([np.arange(1, 511), (np.arange(1, 511) - 1) // 2], 1)
    if name == "taxonomy":
        return generated().edges
    folder = data_folder()
    if folder is None:
        raise ValueError(f"the graph {name!r} is looked for in the folder that GEODL_DATA names")
    for path in (folder / "graphs" / f"{name}.edges", folder / "graphs" / f"{name}.edges.gz"):
        if path.exists():
            return np.loadtxt(path, dtype=int, usecols=(0, 1))  # unzips by itself
    raise ValueError(f"no graph {name!r} in {folder / 'graphs'}")
