"""The page of all runs."""

import json

import numpy as np
from PIL import Image

from experiments import report


def make_run(root, name, **config):
    folder = root / "pvae-branching" / name
    (folder / "cell").mkdir(parents=True)
    start = {
        "date": "2026-11-28T10:00:00",
        "command": ["python", "-m", "a"],
        "revision": "0123456789",
    }
    (folder / "config.json").write_text(json.dumps({"config": config, "starts": [start]}))
    lines = [{"step": i, "loss": [2.0 / i, 3.0], "seconds": 30.0} for i in (1, 2, 3)]
    (folder / "cell" / "metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4, "lo'
    )
    return folder


def test_a_page_of_runs_needs_nothing_else(tmp_path, capsys):
    whole = make_run(tmp_path, "whole", epochs=80, recipe={"width": 3})
    make_run(tmp_path, "<broken>", epochs=10, recipe={"width": 3})
    (whole / "table.md").write_text(
        "In nats & more\n\n| model | ours |\n| --- | --- |\n| a<b | 57.0 |\n"
    )
    Image.fromarray(np.zeros((2000, 10, 3), np.uint8)).save(whole / "cell" / "latents.png")
    (tmp_path / "config.json").write_text('{"half')
    report.main(tmp_path)
    assert "2 runs" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert "<td>a&lt;b</td><td>57.0</td>" in page and "In nats &amp; more" in page
    assert (
        "not finished" in page and "<td>0123456</td>" not in page and "<code>0123456</code>" in page
    )
    assert "<td>epochs</td><td>10</td><td>80</td>" in page  # what differs, and that alone
    assert page.count("<td>recipe.width</td>") == 2  # in each run's own settings only
    assert page.count("<svg") == 3 and page.count("data:image/png;base64,") == 1
    assert "&lt;broken&gt;" in page and "<broken>" not in page
    for outside in ('src="http', "<script", '<link rel="stylesheet"'):
        assert outside not in page
