"""Runs on one page: ``python -m experiments.report runs/`` writes ``runs/report.html``, which needs nothing else.

Of each run its tables, curves, pictures, configuration and provenance; runs of one experiment side by side.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from matplotlib.figure import Figure
from PIL import Image

from experiments._run import flat
from geodl.train import write_text


Lines = list[dict[str, Any]]
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222 }
h2 { margin-top: 3rem; border-bottom: 1px solid #ccc } table { border-collapse: collapse; margin: 1rem 0 }
.wide { overflow-x: auto } th, td { padding: .2rem .7rem; text-align: left; border-bottom: 1px solid #ddd }
th { background: #f4f4f4 } td { font-variant-numeric: tabular-nums } code { font-size: 85% }
figure { display: inline-block; margin: .5rem; vertical-align: top; max-width: 100% } figure img { max-width: 100% }
figcaption { color: #555; font-size: 85% } summary { cursor: pointer; color: #246 } .open { color: #a40 }
"""


@dataclass(frozen=True)
class Found:
    """A run's folder, and what it holds."""

    folder: Path
    config: dict[str, Any]
    starts: list[dict[str, Any]]
    curves: dict[str, Lines]
    """the lines of every training's log, by its folder below this one"""

    @property
    def experiment(self) -> str:
        return self.folder.parent.name

    @property
    def finished(self) -> bool:
        return (self.folder / "table.md").exists()

    @property
    def title(self) -> str:
        return f"{self.experiment}/{self.folder.name}"


def find(root: Path) -> list[Found]:
    """All runs below a folder; files that are no JSON (of a run that is just being written) are left out."""
    runs = []
    for path in sorted(root.rglob("config.json")):
        try:
            record = json.loads(path.read_text())
            config, starts = record["config"], record["starts"]
        except (ValueError, KeyError, TypeError):
            continue
        logs = sorted(path.parent.rglob("metrics.jsonl"))
        folders = (str(log.parent.relative_to(path.parent)) for log in logs)
        names = ("training" if folder == "." else folder for folder in folders)
        curves = {name: _lines(log) for name, log in zip(names, logs, strict=True)}
        runs.append(
            Found(path.parent, flat(config), starts, {k: v for k, v in curves.items() if v})
        )
    return runs


def _lines(path: Path) -> Lines:
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:  # broken off
            break
    return lines


def page(runs: Sequence[Found]) -> str:
    """The whole page."""
    parts = ["<h1>Runs</h1>", overview(runs)]
    for experiment in dict.fromkeys(run.experiment for run in runs):
        some = [run for run in runs if run.experiment == experiment]
        parts.append(f'<h2 id="{escape(experiment)}">{escape(experiment)}</h2>')
        if len(some) > 1:
            parts.append(comparison(some))
        parts += [section(run) for run in some]
    head = f'<meta charset="utf-8"><title>Runs</title><style>{STYLE}</style>'
    return (
        f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'
    )


def overview(runs: Sequence[Found]) -> str:
    """One row a run."""
    rows = []
    for run in runs:
        last = run.starts[-1] if run.starts else {}
        seconds = sum(line.get("seconds", 0) for lines in run.curves.values() for line in lines)
        state = "finished" if run.finished else '<span class="open">not finished</span>'
        rows.append(
            {
                "run": f'<a href="#{escape(run.title)}">{escape(run.title)}</a>',
                "state": state,
                "last start": escape(str(last.get("date", ""))),
                "revision": f"<code>{escape(str(last.get('revision', ''))[:7])}</code>",
                "devices": escape(
                    f"{last.get('device', '')}, {last.get('processes', 1)} process(es)"
                ),
                "training, min": f"{seconds / 60:.1f}" if run.curves else "",
            }
        )
    return table(rows)


def comparison(runs: Sequence[Found]) -> str:
    """In what runs of one experiment differ, and their curves together."""
    names = sorted({name for run in runs for name in run.config})
    texts = {name: [str(run.config.get(name, "–")) for run in runs] for name in names}
    differing = {name: values for name, values in texts.items() if len(set(values)) > 1}
    rows = [
        {"setting": escape(name)}
        | {escape(run.folder.name): escape(v) for run, v in zip(runs, values, strict=True)}
        for name, values in differing.items()
    ]
    together = {f"{run.folder.name}: {k}": v for run in runs for k, v in run.curves.items()}
    settings = table(rows) if rows else "<p>All settings are the same.</p>"
    return f"<h3>Comparison</h3>{settings}{drawn(together)}"


def section(run: Found) -> str:
    """One run."""
    tables = sorted(run.folder.rglob("table.md"))
    pictures = sorted(run.folder.rglob("*.png"))
    config = table([{"setting": escape(k), "value": escape(str(v))} for k, v in run.config.items()])
    names = ("date", "command", "revision", "jax", "device", "processes")
    starts = table(
        [{n: f"<code>{escape(_words(s.get(n, '')))}</code>" for n in names} for s in run.starts]
    )
    return "".join(
        [
            f'<h3 id="{escape(run.title)}">{escape(run.title)}</h3>',
            *(markdown(path.read_text()) for path in tables),
            drawn(run.curves),
            *(picture(path, str(path.relative_to(run.folder))) for path in pictures),
            f"<details><summary>configuration</summary>{config}</details>",
            f"<details><summary>starts: command, revision, machine</summary>{starts}</details>",
        ]
    )


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of one kind, whose cells are HTML."""
    if not rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name in rows[0])
    body = "".join(
        f"<tr>{''.join(f'<td>{cell}</td>' for cell in row.values())}</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def markdown(text: str) -> str:
    """Paragraphs and tables, as ``experiments._run.markdown_table`` writes them."""
    parts = []
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        if lines[0].startswith("|"):
            cells = [[escape(c.strip()) for c in line.strip("|").split("|")] for line in lines]
            parts.append(table([dict(zip(cells[0], row, strict=False)) for row in cells[2:]]))
        else:
            parts.append(f"<p>{escape(block)}</p>")
    return "".join(parts)


def drawn(curves: Mapping[str, Lines]) -> str:
    """The loss of every training against its steps, as a vector picture; several seeds by their mean."""
    known = {name: [line for line in lines if "loss" in line] for name, lines in curves.items()}
    known = {name: lines for name, lines in known.items() if len(lines) > 1}
    if not known:
        return ""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for name, lines in known.items():
        steps = [line["step"] for line in lines]
        axes.plot(steps, [np.mean(line["loss"]) for line in lines], label=name, linewidth=1.2)
    axes.set(xlabel="step", ylabel="training loss, as logged")
    if len(known) <= 12:
        axes.legend(fontsize="small", loc="upper right")
    axes.grid(alpha=0.3)
    vector = io.StringIO()
    figure.savefig(vector, format="svg")
    return f"<figure>{vector.getvalue()[vector.getvalue().index('<svg') :]}</figure>"


def picture(path: Path, caption: str, widest: int = 1400) -> str:
    """A picture within the page, made smaller where it is very large."""
    content = io.BytesIO()
    with Image.open(path) as image:
        image.thumbnail((widest, widest))
        image.save(content, format="png")
    data = base64.b64encode(content.getvalue()).decode()
    source = f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
    return f"<figure>{source}<figcaption>{escape(caption)}</figcaption></figure>"


def main(root: tyro.conf.Positional[Path] = Path("runs"), output: Path | None = None) -> None:
    """Write a page of all runs.

    Args:
        root: the folder of the runs.
        output: of the page, by default report.html in that folder.
    """
    runs = find(root)
    if not runs:
        raise SystemExit(f"there is no run below {root.absolute()}")
    output = output or root / "report.html"
    write_text(output, page(runs))
    print(f"{len(runs)} runs: {output}")


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.report")
