"""The tests of what only the engine has: tiles, chunks, products of rows."""

import pytest


@pytest.fixture
def computed_by():
    """Not twice."""
