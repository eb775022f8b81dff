"""The README's code samples run as they stand, each on its own."""

import re
from pathlib import Path

import pytest


README = Path(__file__).parents[1] / "README.md"


def samples() -> list:
    """Every Python block, named after its line."""
    text = README.read_text()
    return [
        pytest.param(match[1], text[: match.start(1)].count("\n"), id=f"line {match.start(1)}")
        for match in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def test_there_are_three_samples():
    assert len(samples()) == 3


@pytest.mark.parametrize(("source", "line"), samples())
def test_sample_runs(source, line):
    code = compile("\n" * line + source, str(README), "exec")  # tracebacks name the README's line
    exec(code, {"__name__": "__main__"})
