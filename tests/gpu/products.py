"""How long a product with a weight matrix takes on a GPU in float32, TF32 and bfloat16, and how far it is off.

    python tests/gpu/products.py

The time of bfloat16 includes the rounding of both factors.
"""

import time

import numpy as np

from minilora.arrays.backend import get_xp, to_device, to_numpy
from minilora.arrays.products import PRODUCTS, gpu_products, product

SHAPES = ((4096, 768, 768), (4096, 768, 3072), (4096, 4096, 4096))  # M, I, O
TIMES = 20


def seconds(x, W):
    """Of x W^T."""
    wait = get_xp(x).cuda.get_current_stream().synchronize
    product(x, W.T)  # compiles, too
    wait()
    started = time.perf_counter()
    for _ in range(TIMES):
        product(x, W.T)
    wait()
    return (time.perf_counter() - started) / TIMES


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
    for shape in SHAPES:
        try:
            print(line(*shape), flush=True)
        except Exception as error:
            print(f"{shape}: {error!r:.80}", flush=True)
