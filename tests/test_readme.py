"""The README's code samples run as they stand, each on its own; so do the recipes for extending the library."""

import re
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
README, RECIPES = ROOT / "README.md", ROOT / "docs" / "extending.md"


def samples() -> list[tuple[str, int]]:
    """Every Python block and the number of lines above it."""
    text = README.read_text()
    blocks = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(block[1], text[: block.start(1)].count("\n")) for block in blocks]


def test_there_are_five_samples():
    assert len(samples()) == 5


@pytest.mark.parametrize(("source", "above"), samples(), ids=lambda v: v if type(v) is int else "")
def test_sample_runs(source, above):
    code = compile("\n" * above + source, str(README), "exec")  # tracebacks name README's lines
    exec(code, {"__name__": "__main__"})


def test_recipes_run():
    cells = re.findall(
        r"^```\{code-cell\}\n(.*?)^```$", RECIPES.read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(cells) > 5
    exec(compile("\n".join(cells), str(RECIPES), "exec"), {"__name__": "__main__"})
