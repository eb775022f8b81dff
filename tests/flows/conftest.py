"""The flows' tests are made of compilation: a quick compiler for all of them."""

import pytest


@pytest.fixture(autouse=True)
def _quick(quick_compiler):
    """As named."""
