"""The counterfactual experiments, made small."""

from dataclasses import replace

import pytest

from experiments.counterfactuals import toy


def test_toy_ends_with_the_exponents(tmp_path, capsys):
    config = replace(toy.Toy(), root=str(tmp_path), widths=(1e-3, 1e-2), starts=3)
    found = toy.run(config)
    folder = tmp_path / "toy-counterfactual" / "exact"
    assert (folder / "table.md").read_text() in capsys.readouterr().out + "\n"
    exponents = [result["exponent"] for result in found.values()]
    assert exponents == pytest.approx([2, 2, 1, 0, 0], abs=0.05)
    assert all(result["found"] == 1 for result in found.values())
    for name in ("exponents", "paths"):
        assert (folder / f"{name}.png").stat().st_size > 10_000
