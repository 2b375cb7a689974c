"""Where a parameter is in a GGUF file: its tensor, and in what order, or in which rows of it."""

from typing import NamedTuple

import numpy

from minilora.interop.gguf_file import GGUFFile


class Place(NamedTuple):
    """Where a parameter is in a GGUF file."""

    parameter: str
    tensor: str
    shape: tuple[int, ...]  # of the tensor
    n_heads: int = 0  # if the file has the rows of these heads in llama.cpp's order
    rows: slice | None = None  # if the tensor holds several parameters, one below the other

    def stored(self, W: numpy.ndarray) -> numpy.ndarray:
        """The parameter, or B of its LoRA, with its rows as the file has them: (O, ...) -> (O, ...)"""
        return to_neighbours(W, self.n_heads) if self.n_heads else W

    def ours(self, W: numpy.ndarray) -> numpy.ndarray:
        """Its rows in our order again: the inverse of `stored`. (O, ...) -> (O, ...)"""
        return to_halves(W, self.n_heads) if self.n_heads else W

    def read(self, file: GGUFFile) -> numpy.ndarray:
        """The values of the parameter, float32, in our order."""
        values = file.tensors[self.tensor].read()
        return self.ours(values if self.rows is None else values[self.rows])


def to_neighbours(W: numpy.ndarray, n: int) -> numpy.ndarray:
    """Rows of n heads in llama.cpp's order: within a head, i, i + K/2 become 2 i, 2 i + 1. (O, ...) -> (O, ...)"""
    return W.reshape(n, 2, -1, *W.shape[1:]).swapaxes(1, 2).reshape(W.shape)


def to_halves(W: numpy.ndarray, n: int) -> numpy.ndarray:
    """Rows of n heads in our order again: the inverse of `to_neighbours`. (O, ...) -> (O, ...)"""
    return W.reshape(n, -1, 2, *W.shape[1:]).swapaxes(1, 2).reshape(W.shape)


def vocabulary_size(file: GGUFFile, n_layer: int) -> int:
    """V, the rows of the token embedding; ValueError if it is missing, or there are fewer tensors than layers."""
    if n_layer > len(file.tensors):
        raise ValueError(f"{file.path}: block_count was {n_layer}, and the file has {len(file.tensors)} tensors in all")
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None:
        raise ValueError(f"{file.path} lacks the tensor token_embd.weight")
    return embedding.shape[0]
