"""What the commands say of themselves."""

import importlib
import re
import subprocess
from pathlib import Path

import pytest

from experiments._run import main


@pytest.mark.parametrize(
    "family",
    ["pvae", "flows", "counterfactuals", "spherical", "gauge", "trees", "lattice", "infinite"],
)
def test_every_command_says_what_it_does(family, monkeypatch, capsys):
    module = importlib.import_module(f"experiments.{family}.__main__")
    monkeypatch.setattr("sys.argv", [family, "--help"])
    with pytest.raises(SystemExit):
        main(f"experiments.{family}", module.__doc__, module.COMMANDS, module.WORDS)
    said = " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    commands = re.search(r"\{(.*?)\}", said)[1].replace(" ", "").split(",")
    assert commands == list(module.WORDS)
    assert all(f"{name} {words}" in said for name, words in module.WORDS.items())


def test_make_help_is_a_table():
    root = Path(__file__).parents[2]
    lines = subprocess.check_output(["make", "-s", "help"], cwd=root, text=True).splitlines()
    targets = [line for line in lines if line.startswith("  make ")]
    assert len(targets) > 20
    assert len({re.match(r"  make \S+ +", line).end() for line in targets}) == 1
