import math

import numpy as np

from exercises.attempts import Attempts

a = Attempts("lora_start")


def start(A, B=lambda O, I, r, rng: np.zeros((O, r)), scale=lambda alpha, r: alpha / r):
    return lambda O, I, rank, alpha, rng: (A(O, I, rank, rng), B(O, I, rank, rng), scale(alpha, rank))


def good(O, I, r, rng):
    return rng.uniform(-(I**-0.5), I**-0.5, (r, I))


a.is_right("size= by name", lora_start=start(lambda O, I, r, g: g.uniform(low=-1 / math.sqrt(I), high=1 / math.sqrt(I), size=(r, I))))
a.is_right("Kaiming's bound with a = sqrt 5, as loralib says it", lora_start=start(lambda O, I, r, g: g.uniform(-math.sqrt(6 / ((1 + 5) * I)), math.sqrt(6 / ((1 + 5) * I)), (r, I))))
a.is_right("from -1 to 1, then divided", lora_start=start(lambda O, I, r, g: g.uniform(-1, 1, (r, I)) / np.sqrt(I)))
a.is_right("B as A's zeros", lora_start=start(good, lambda O, I, r, g: 0.0 * np.ones((O, r)), lambda alpha, r: float(alpha) * (1 / r)))


def wrong(why, *true, **parts):
    a.is_wrong(why, *true, lora_start=start(parts.pop("A", good), **parts))


wrong("A and B in each other's shape", "transpose", "in another shape", A=lambda O, I, r, g: g.uniform(-(I**-0.5), I**-0.5, (I, r)), B=lambda O, I, r, g: np.zeros((r, O)))
wrong("A reshaped after the draw", "another shape", A=lambda O, I, r, g: good(O, I, r, g).reshape(I, r))
wrong("B is (r, O)", "transpose", B=lambda O, I, r, g: np.zeros((r, O)))
wrong("B is (O, I)", B=lambda O, I, r, g: np.zeros((O, I)))
wrong("B is flat", "another shape", B=lambda O, I, r, g: np.zeros(O * r))
wrong("A is an eye", A=lambda O, I, r, g: np.eye(r, I))
wrong("A is constant", A=lambda O, I, r, g: np.full((r, I), I**-0.5))
wrong("a generator of its own", A=lambda O, I, r, g: np.random.default_rng(0).uniform(-(I**-0.5), I**-0.5, (r, I)))
wrong("row by row from a new seed", A=lambda O, I, r, g: np.stack([np.random.default_rng(k).uniform(-(I**-0.5), I**-0.5, I) for k in range(r)]))
wrong("numpy.random, the global one", A=lambda O, I, r, g: np.random.uniform(-(I**-0.5), I**-0.5, (r, I)))
wrong("divided by the root of r too", "not always the same", A=lambda O, I, r, g: good(O, I, r, g) / np.sqrt(r))
wrong("half the bound", "0.5 times", A=lambda O, I, r, g: good(O, I, r, g) / 2)
wrong("the sign turned", "-1 times", A=lambda O, I, r, g: -good(O, I, r, g))
wrong("low and high exchanged", A=lambda O, I, r, g: g.uniform(I**-0.5, -(I**-0.5), (r, I)))
wrong("rng.random without a shift", "between 0 and 1: what", A=lambda O, I, r, g: g.random((r, I)))
wrong("rng.random, scaled", "between 0 and 1 / sqrt(I)", A=lambda O, I, r, g: g.random((r, I)) / np.sqrt(I))
wrong("normal by rng.normal with deviation 0.01", A=lambda O, I, r, g: g.normal(0, 0.01, (r, I)))
wrong("normal 1 / sqrt(r)", A=lambda O, I, r, g: g.normal(0, r**-0.5, (r, I)))
wrong("orthonormal rows", A=lambda O, I, r, g: np.linalg.qr(g.standard_normal((I, r)))[0].T)
wrong("float32, as PEFT has it", "float32", A=lambda O, I, r, g: good(O, I, r, g).astype("f4"))
wrong("tiny, not zero", B=lambda O, I, r, g: np.full((O, r), 1e-8))
wrong("an eye for B", B=lambda O, I, r, g: np.eye(O, r))
wrong("the largest of alpha and r", scale=lambda al, r: max(al, r))
wrong("alpha / (r + 1)", scale=lambda al, r: al / (r + 1))
wrong("alpha / 2 r", "0.5 times", scale=lambda al, r: al / (2 * r))
wrong("1", scale=lambda al, r: 1.0)
wrong("2, everybody's", scale=lambda al, r: 2.0)
wrong("rounded", scale=lambda al, r: round(al / r, 1))
wrong("alpha as a whole number", scale=lambda al, r: int(al) / r)
wrong("sqrt(alpha) / r", scale=lambda al, r: math.sqrt(al) / r)
wrong("sqrt(alpha / r)", scale=lambda al, r: math.sqrt(al / r))
wrong("the scale is in B, and 1", B=lambda O, I, r, g: np.zeros((O, r)), scale=lambda al, r: r / r)


@a.is_wrong("B, A, scale", "the right B", "the right A")
def _(O, I, rank, alpha, rng):
    return np.zeros((O, rank)), good(O, I, rank, rng), alpha / rank


@a.is_wrong("the scale is forgotten")
def _(O, I, rank, alpha, rng):
    return good(O, I, rank, rng), np.zeros((O, rank))


@a.is_wrong("B is drawn first, then set to zero", "not drawn first")
def _(O, I, rank, alpha, rng):
    B = rng.uniform(-(I**-0.5), I**-0.5, (O, rank))
    return good(O, I, rank, rng), 0 * B, alpha / rank


@a.is_wrong("A = 0 and B is drawn: the paper's other way round", "zero: A is the one that is drawn")
def _(O, I, rank, alpha, rng):
    return np.zeros((rank, I)), rng.uniform(-(rank**-0.5), rank**-0.5, (O, rank)), alpha / rank


KEPT = {}


@a.is_wrong("the first A is given to everybody of its shape")
def _(O, I, rank, alpha, rng):
    return KEPT.setdefault("A", good(O, I, rank, rng)), np.zeros((O, rank)), alpha / rank
