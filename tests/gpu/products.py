"""How long a product with a weight matrix takes on a GPU in float32, TF32 and bfloat16, and how far it is off.

    python tests/gpu/products.py

The time of bfloat16 includes the rounding of both factors.
"""

import numpy as np
from timing import print_lines, seconds_of

from minilora.arrays.backend import to_device, to_numpy
from minilora.arrays.products import PRODUCTS, gpu_products, product

SHAPES = ((4096, 768, 768), (4096, 768, 3072), (4096, 4096, 4096))  # M, I, O
TIMES = 20


def seconds(x, W):
    """Of x W^T."""
    product(x, W.T)  # compiles, too
    return seconds_of(lambda: product(x, W.T), x, TIMES)


def line(M, I, O):
    """What is said of one shape."""
    rng = np.random.default_rng(0)
    x, W = (rng.standard_normal(shape).astype("float32") for shape in ((M, I), (O, I)))
    exact = x[:64].astype("float64") @ W.T
    x, W = to_device(x, "gpu"), to_device(W, "gpu")
    found = []
    for name in PRODUCTS:
        try:
            with gpu_products(name, "gpu"):
                error = np.linalg.norm(to_numpy(product(x, W.T)[:64]) - exact) / np.linalg.norm(exact)
                found.append(f"{name} {1e3 * seconds(x, W):.3f} ms, off {error:.0e}")
        except Exception as error:
            found.append(f"{name} {type(error).__name__}")
    return f"M {M}, I {I}, O {O}: " + "; ".join(found)


if __name__ == "__main__":
    print_lines(line, SHAPES)
