"""The tests of ops/ ask the engine, and run a second time within plain_ops, where the page answers."""

import contextlib

import pytest

from minilora.ops import plain_ops


@pytest.fixture(autouse=True, params=["engine", "page"])
def computed_by(request):
    with plain_ops() if request.param == "page" else contextlib.nullcontext():
        yield request.param
