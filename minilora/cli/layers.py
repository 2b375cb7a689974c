"""Shared by `rank` and `subspace`: choosing layers by name, and writing figures."""

from typing import Any

from minilora.cli.options import names_in


def chosen(matrices: dict[str, Any], layers: str | None) -> dict[str, Any]:
    """The matrices that --layers names, by path or the end of one; all, if it was not given."""
    if layers is None:
        return matrices
    endings = tuple(f".{name}" for name in names_in(layers))
    found = {path: matrix for path, matrix in matrices.items() if f".{path}".endswith(endings)}
    if not found:
        raise ValueError(f"--layers was {layers!r}; there are {', '.join(matrices)}")
    return found


def save_figure(figure, path: str) -> None:
    """Write a figure."""
    from minilora import plots

    plots.save(figure, path)
