"""One contender in a comparison: a process that reads one JSON command per line, and answers with one JSON line.

``{"do": "make", "shape": {...}, "method": "lora", "threads": 2}`` makes a model; then ``{"do": "train", "n": 3}`` takes
three steps, ``generate`` makes n tokens, ``floor`` runs the matrix products of n steps and nothing else, ``merge``
merges the adapter, and ``memory`` reports the peak memory. Each answer includes the seconds that it took.
The peers in tests/benchmarks/ speak the same language.
"""

import json
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy

from minilora.arrays.backend import gpu_memory, tf32, to_numpy
from minilora.arrays.threads import one_blas_thread
from minilora.data import LMBatch
from minilora.experiments.bench.shapes import Shape, products_of_step
from minilora.interop.gguf_save import save_gguf
from minilora.methods import LoRAConfig, apply_full, apply_lora, merge_lora
from minilora.models import GPT, Llama
from minilora.models.generation import generate
from minilora.training import AdamW, DataParallel


class Worker:
    """A model with its optimizer and a batch, and what can be timed with them."""

    def make(self, shape, method, threads, rank=8, device="cpu", seed=0):
        shape, self.device = Shape(**shape), device
        rng = numpy.random.default_rng(seed)
        kind = GPT if shape.G is None else Llama
        self.model = kind(shape.config, rng, device=device)
        if method == "lora":
            apply_lora(self.model, LoRAConfig(rank=rank, alpha=rank), rng=rng)
            for name, p in self.model.named_parameters():
                if name.endswith(".B"):
                    p.data += self.model.xp.asarray(0.02 * rng.standard_normal(p.data.shape).astype("float32"))
        elif method == "full":
            apply_full(self.model)
        self.optimizer = AdamW(self.model.parameters(), lr=1e-4) if method != "base" else None
        ids = rng.integers(0, shape.V, (shape.N, shape.T + 1))
        self.batch = LMBatch(ids[:, :-1], ids[:, 1:], numpy.ones((shape.N, shape.T), dtype=bool))
        self.threads = threads
        self.products = products_of_step(shape, method, rank) if method != "base" else ()
        self.arrays = None

    def train(self, n):
        """n steps: forward, loss, backward, AdamW. Returns the last loss."""
        products = tf32() if self.device == "gpu" else nullcontext()
        with products, DataParallel(self.model, self.threads) as objective:
            for _ in range(n):
                self.model.zero_grad()
                loss = objective.loss_and_backward(self.batch)
                self.optimizer.step()
        to_numpy(self.optimizer.parameters[-1].data)  # a GPU has to finish the last step
        return {"loss": float(to_numpy(loss))}

    def generate(self, n):
        """n tokens after a prompt of 16, greedily, with a key-value cache."""
        generate(self.model, [self.batch.ids[0, :16]], max_tokens=n)

    def merge(self):
        """Merge the adapter into W."""
        merge_lora(self.model)

    def save(self, path, like):
        """Write a file for llama.cpp in float32, with the tokenizer of another one."""
        save_gguf(self.model, path, like=like, dtype="f32")

    def activations(self):
        """The bytes that the forward keeps for the backward, as Python's tracemalloc counts them."""
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        _loss, cache = self.model.loss(self.batch)
        kept = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        del cache
        return {"bytes": kept}

    def memory(self):
        """Do nothing: every answer reports the peak memory."""

    def peak_bytes(self):
        """The peak memory of the process so far; on a GPU, of its memory pool; None on Windows."""
        if getattr(self, "device", "cpu") == "gpu":
            return gpu_memory()["total"]
        try:
            import resource
        except ImportError:
            return None
        unit = 1 if sys.platform == "darwin" else 1024  # macOS counts in bytes, Linux in KiB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def floor(self, n):
        """The matrix products of n steps, each thread with its share of them, into memory that is already allocated."""
        if self.arrays is None:
            self.arrays = [[_operands(p, self.threads) for p in self.products] for _ in range(self.threads)]

        def share(operands):
            for _ in range(n):
                for product, (a, b, out) in zip(self.products, operands, strict=True):
                    for _ in range(product.times):
                        numpy.matmul(a, b, out=out)

        with one_blas_thread(), ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(share, self.arrays))


def _operands(product, threads):
    """Random a, b and an empty a @ b for one thread's share of a product: of its rows, or of its batch."""
    _, m, k, n, batch = product
    rng = numpy.random.default_rng(0)
    if batch > 1:
        shapes = (batch // threads, m, k), (batch // threads, k, n)
    elif (m > k and m > n) or k <= n:
        shapes = (m // threads, k), (k, n)
    else:
        shapes = (m, k // threads), (k // threads, n)  # dW = dy^T x sums over rows
    a, b = (rng.standard_normal(shape, dtype=numpy.float32) for shape in shapes)
    return a, b, numpy.empty((*a.shape[:-1], n), numpy.float32)


def main():
    """Answer commands until there are no more."""
    worker = Worker()
    for line in sys.stdin:
        command = json.loads(line)
        started = time.perf_counter()
        answer = getattr(worker, command.pop("do"))(**command) or {}
        answer["seconds"] = time.perf_counter() - started
        answer["peak_bytes"] = worker.peak_bytes()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
