"""The counterfactual experiments, made small: they end, resume, and print and draw what they promise."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.counterfactuals import mnist_flow, toy
from experiments.counterfactuals.image_flows import FlowRecipe


@pytest.mark.slow
def test_toy_ends_with_the_exponents(tmp_path, capsys):
    config = replace(toy.Toy(), root=str(tmp_path), widths=(1e-3, 1e-2), starts=3)
    found = toy.run(config)
    folder = tmp_path / "cf-toy" / "exact"
    assert (folder / "table.md").read_text() in capsys.readouterr().out + "\n"
    exponents = [result["exponent"] for result in found.values()]
    assert exponents == pytest.approx([2, 2, 1, 0, 0], abs=0.05)
    assert all(result["found"] == 1 for result in found.values())
    for name in ("exponents", "paths"):
        assert (folder / f"{name}.png").stat().st_size > 10_000


@pytest.mark.slow
def test_flow_of_digits_ends_and_resumes(tmp_path, capsys):
    recipe = FlowRecipe(levels=((4, 1),), width=8, steps=4, average=0.5)
    config = mnist_flow.MnistFlow(root=str(tmp_path), data="digits", recipe=recipe)
    result = mnist_flow.run(config)
    folder = tmp_path / "cf-mnist-flow" / "flow"
    assert (folder / "table.md").read_text() in capsys.readouterr().out + "\n"
    assert 0 < result["bits_per_dim"] < 20 and result["standard_error"] > 0
    assert (folder / "samples.png").stat().st_size > 10_000
    again = mnist_flow.run(config)  # the checkpoint and the scores are read, not made again
    assert again["bits_per_dim"] == result["bits_per_dim"] and np.isfinite(again["cpu_minutes"])
