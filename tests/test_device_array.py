"""The stand-in for GPU arrays computes as NumPy does, and refuses what CuPy would refuse or pay for."""

import copy
import math
import pickle

import numpy as np
import pytest

from device_array import (
    LACKING,
    LACKING_LINALG,
    UFUNC_METHODS,
    DeviceArray,
    count_synchronisations,
    device_xp,
    to_fake_device,
    to_host,
)


def host(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def same(device, expected):
    """The result stayed on the device, and has the values, shape and dtype of NumPy's."""
    assert type(device) is DeviceArray
    expected = np.asarray(expected)
    assert device.shape == expected.shape and device.dtype == expected.dtype
    np.testing.assert_array_equal(to_host(device), expected)


X, Y, W = host(2, 3, 4), host(2, 3, 4, seed=1), host(5, 4, seed=2)
ROW, COLUMN = host(4, seed=3), host(3, 1, seed=4)
IDS = np.array([[3, 0, 3], [1, 4, 2]])
MASK = X > 0

# ---- what works: each line is run on host arrays and on device arrays, with np and with device_xp

WORKS = {
    "add": lambda xp, d: d(X) + d(Y),
    "broadcast": lambda xp, d: d(X) * d(ROW) - d(COLUMN) / d(X),
    "python scalar": lambda xp, d: 2 * d(X) + 0.5 - 1.5 / (d(X) ** 2 + True),
    "negative": lambda xp, d: -d(X),
    "compare": lambda xp, d: (d(X) > 0) & (d(X) <= d(Y)),
    "matmul": lambda xp, d: d(X) @ d(W).T,
    "matmul 1-d": lambda xp, d: d(ROW) @ d(ROW),
    "matmul function": lambda xp, d: xp.matmul(d(X), xp.swapaxes(d(Y), -1, -2)),
    "einsum": lambda xp, d: xp.einsum("ntc,oc->nto", d(X), d(W)),
    "einsum to 0-d": lambda xp, d: xp.einsum("ntc,ntc->", d(X), d(Y)),
    "tensordot": lambda xp, d: xp.tensordot(d(X), d(W), axes=(-1, -1)),
    "transpose": lambda xp, d: d(X).transpose(2, 0, 1),
    "T": lambda xp, d: d(W).T,
    "swapaxes": lambda xp, d: d(X).swapaxes(-1, -2),
    "reshape": lambda xp, d: d(X).reshape(-1, 4),
    "reshape function": lambda xp, d: xp.reshape(d(X), (6, 4)),
    "ravel": lambda xp, d: d(X).ravel(),
    "squeeze": lambda xp, d: d(COLUMN).squeeze(-1),
    "expand_dims": lambda xp, d: xp.expand_dims(d(ROW), 0),
    "exp": lambda xp, d: xp.exp(d(X)),
    "tanh": lambda xp, d: xp.tanh(d(X)),
    "maximum": lambda xp, d: xp.maximum(d(X), 0.0),
    "where": lambda xp, d: xp.where(d(MASK), d(X), -math.inf),
    "where scalars": lambda xp, d: xp.where(d(MASK), 1.0, 0.0),
    "concatenate": lambda xp, d: xp.concatenate([d(X), d(Y)], axis=1),
    "stack": lambda xp, d: xp.stack((d(X), d(Y))),
    "pad": lambda xp, d: xp.pad(d(W), ((0, 1), (2, 0))),
    "sum": lambda xp, d: d(X).sum(),
    "sum function": lambda xp, d: xp.sum(d(X)),
    "sum axis": lambda xp, d: d(X).sum(axis=(0, 1)),
    "sum keepdims": lambda xp, d: d(X).sum(axis=-1, keepdims=True),
    "sum of ids": lambda xp, d: d(IDS).sum(),
    "max keepdims": lambda xp, d: xp.max(d(X), axis=-1, keepdims=True),
    "mean": lambda xp, d: d(X).mean(axis=-1),
    "mean to 0-d": lambda xp, d: d(X).mean(),
    "var": lambda xp, d: d(X).var(axis=-1, keepdims=True),
    "argmax": lambda xp, d: d(X).argmax(axis=-1),
    "argmax to 0-d": lambda xp, d: d(X).argmax(),
    "any": lambda xp, d: d(MASK).any(),
    "cumsum": lambda xp, d: xp.cumsum(d(X), axis=-1),
    "clip": lambda xp, d: xp.clip(d(X), -0.5, 0.5),
    "sort": lambda xp, d: xp.sort(d(X), axis=-1),
    "argsort": lambda xp, d: xp.argsort(d(X), axis=-1),
    "take_along_axis": lambda xp, d: xp.take_along_axis(d(X), d(X).argmax(axis=-1)[..., None], axis=-1),
    "astype": lambda xp, d: d(X).astype("float64"),
    "tril": lambda xp, d: xp.tril(d(W)),
    "norm": lambda xp, d: xp.linalg.norm(d(W)),
    "array_equal": lambda xp, d: xp.array_equal(d(X), d(X)),
    "isfinite all": lambda xp, d: xp.isfinite(d(X)).all(),
    "add.reduce": lambda xp, d: xp.add.reduce(d(X), axis=0),
    "zeros_like": lambda xp, d: xp.zeros_like(d(X)),
    # indexing
    "item": lambda xp, d: d(X)[1],
    "single element": lambda xp, d: d(X)[1, 2, 3],
    "slice": lambda xp, d: d(X)[:, 1:, ::-1],
    "None and ellipsis": lambda xp, d: d(X)[..., None, :],
    "embedding": lambda xp, d: d(W)[d(IDS)],
    "pairs of ids": lambda xp, d: d(W)[xp.arange(3), d(IDS)[0]],
    "ids and slice": lambda xp, d: d(X)[:, d(IDS)[0, 1:2]],
    "numpy integer": lambda xp, d: d(X)[np.int64(1)],
    "mask": lambda xp, d: d(X)[d(MASK)],
    # creation
    "zeros": lambda xp, d: xp.zeros((2, 3), dtype="float32"),
    "ones": lambda xp, d: xp.ones(3),
    "full": lambda xp, d: xp.full((2, 2), -math.inf, dtype=xp.float32),
    "arange": lambda xp, d: xp.arange(4),
    "eye": lambda xp, d: xp.eye(3, dtype=xp.float32),
    "tri": lambda xp, d: xp.tri(3, dtype=bool),
    "asarray list": lambda xp, d: xp.asarray([[1.0, 2.0]], dtype="float32"),
    "linspace": lambda xp, d: xp.linspace(0.0, 1.0, 5),
    # the trap that the class is for: a float64 from a function of a Python scalar
    "sqrt of a Python scalar": lambda xp, d: xp.asarray(xp.sqrt(2.0)),
}


@pytest.mark.parametrize("name", WORKS)
def test_computes_as_numpy_does(name):
    same(WORKS[name](device_xp, to_fake_device), WORKS[name](np, lambda array: array))


@pytest.mark.parametrize("name", [n for n in WORKS if n not in ("mask",)])
def test_needs_no_synchronisation(name):
    with count_synchronisations() as count:
        WORKS[name](device_xp, to_fake_device)
    assert count.n == 0


def test_plain_numpy_functions_dispatch_too():
    x = to_fake_device(X)
    same(np.exp(x), np.exp(X))
    same(np.concatenate([x, x]), np.concatenate([X, X]))
    same(np.sum(x), np.sum(X))


def test_several_results_stay_on_the_device():
    W_device = to_fake_device(W)
    result = device_xp.linalg.svd(W_device, full_matrices=False)
    for device, expected in zip(result, np.linalg.svd(W, full_matrices=False), strict=True):
        same(device, expected)
    same(result.S, np.linalg.svd(W, full_matrices=False).S)  # still the named tuple
    halves = device_xp.split(W_device, 2, axis=1)
    same(halves[1], W[:, 2:])


def test_float32_stays_float32_and_a_0d_float64_does_promote():
    x = to_fake_device(X)
    assert (x * 2.0 / math.sqrt(3.0)).dtype == np.float32
    assert (x / x.sum()).dtype == np.float32
    assert (x * device_xp.sqrt(2.0)).dtype == np.float64  # as in CuPy: use math.sqrt


# ---- views, in place, out=


def test_views_share_memory_and_copies_do_not():
    x = to_fake_device(W)
    x.T[0, 1] = 7.0
    x.reshape(-1)[0] = 8.0
    x[2][3] = 9.0
    expected = W.copy()
    expected[1, 0], expected[0, 0], expected[2, 3] = 7.0, 8.0, 9.0
    same(x, expected)
    for other in (x.copy(), copy.copy(x), copy.deepcopy(x), device_xp.array(x)):
        other[...] = 0.0
    same(x, expected)
    assert device_xp.asarray(x) is x


def test_transfers_copy():
    original = W.copy()
    x, y = to_fake_device(original), device_xp.asarray(original)
    back = to_host(x)
    original[...] = 0.0
    back[...] = 1.0
    same(x, W)
    same(y, W)


def test_in_place_operators_keep_the_object_and_its_views():
    x = x_before = to_fake_device(X)
    row = x[0]
    x += to_fake_device(Y)
    x *= 2.0
    assert x is x_before
    same(row, ((X + Y) * 2.0)[0])


def test_out():
    x, out = to_fake_device(X), device_xp.empty(X.shape, dtype="float32")
    assert device_xp.exp(x, out=out) is out
    same(out, np.exp(X))
    assert np.multiply(x, 2.0, out=x) is x
    same(x, X * 2)
    total = device_xp.empty((), dtype="float32")
    assert device_xp.sum(x, out=total) is total
    same(total, np.sum(X * 2))


def test_item_assignment():
    x = to_fake_device(W)
    expected = W.copy()
    x[0], expected[0] = 1.0, 1.0
    x[1:3, ::2], expected[1:3, ::2] = to_fake_device(W)[3:, ::2], W[3:, ::2]
    x[to_fake_device(IDS[0])], expected[IDS[0]] = 0, 0
    x[x > 0.5], expected[expected > 0.5] = 0.5, 0.5
    same(x, expected)


def test_scatter_add():
    x, expected = device_xp.zeros((5, 3), dtype="float32"), np.zeros((5, 3), np.float32)
    updates = host(2, 3, 3, seed=5)
    device_xp.add.at(x, to_fake_device(IDS), to_fake_device(updates))
    np.add.at(x, to_fake_device(IDS), to_fake_device(updates))
    for _ in range(2):
        np.add.at(expected, IDS, updates)
    same(x, expected)


# ---- what is refused

MIXES = {
    "device + host": lambda x, h: x + h,
    "host + device": lambda x, h: h + x,
    "host @ device": lambda x, h: h @ x.swapaxes(-1, -2),
    "device @ host": lambda x, h: x @ h.swapaxes(-1, -2),
    "host == device": lambda x, h: h == x,
    "device += host": lambda x, h: x.__iadd__(h),
    "host += device": lambda x, h: h.__iadd__(x),
    "np.add": lambda x, h: np.add(x, h),
    "xp.add": lambda x, h: device_xp.add(x, h),
    "xp.exp of host alone": lambda x, h: device_xp.exp(h),
    "xp.sum of host alone": lambda x, h: device_xp.sum(h),
    "out= host": lambda x, h: np.exp(x, out=h),
    "out= device": lambda x, h: np.exp(h, out=x),
    "sum out= host": lambda x, h: x.sum(axis=0, out=h[0]),
    "where= host": lambda x, h: np.exp(x, where=h > 0),
    "np.concatenate": lambda x, h: np.concatenate([x, h]),
    "xp.stack": lambda x, h: device_xp.stack([x, h]),
    "np.where": lambda x, h: np.where(x > 0, x, h),
    "host condition": lambda x, h: np.where(h > 0, x, 0.0),
    "np.einsum": lambda x, h: np.einsum("ntc,ntc->", x, h),
    "np.array_equal": lambda x, h: np.array_equal(x, h),
    "method": lambda x, h: x.dot(h.T),
    "clip": lambda x, h: x.clip(h, 1.0),
    "item assignment": lambda x, h: x.__setitem__(0, h[0]),
    "assignment into host": lambda x, h: h.__setitem__(0, x[0]),
    "index": lambda x, h: x[IDS[0, :1]],
    "index in a tuple": lambda x, h: x[:, IDS[0, :1]],
    "mask": lambda x, h: x[h > 0],
    "assignment by host index": lambda x, h: x.__setitem__(IDS[0, :1], 0.0),
    "host indexed by device": lambda x, h: h[to_fake_device(IDS) * 0],
    "host assigned by device": lambda x, h: h.__setitem__(to_fake_device(IDS) * 0, 1.0),
    "add.at": lambda x, h: device_xp.add.at(x, IDS[0, :1] * 0, 1.0),
    "list": lambda x, h: x + [1.0, 2.0, 3.0, 4.0],
    "None": lambda x, h: x == None,  # noqa: E711
}
SCALARS = {"0-d": np.array(2.0), "float64": np.float64(2), "float32": np.float32(2), "int64": np.int64(2)}


@pytest.mark.parametrize("name", MIXES)
def test_mixing_with_a_host_array_is_refused(name):
    with pytest.raises(TypeError):
        MIXES[name](to_fake_device(X), Y.copy())


@pytest.mark.parametrize("kind", SCALARS)
@pytest.mark.parametrize(
    "expression",
    [
        lambda x, s: x * s,
        lambda x, s: s * x,
        lambda x, s: s / x,
        lambda x, s: x > s,
        lambda x, s: s < x,
        lambda x, s: x.__imul__(s),
        lambda x, s: np.maximum(x, s),
        lambda x, s: device_xp.where(x > 0, x, s),
        lambda x, s: device_xp.full((2, 2), s),
        lambda x, s: x.__setitem__(0, s),
        lambda x, s: x.fill(s),
    ],
)
def test_mixing_with_a_numpy_scalar_is_refused(kind, expression):
    with pytest.raises(TypeError, match=r"host array|NumPy scalar"):
        expression(to_fake_device(X), SCALARS[kind])


def test_the_messages_say_what_to_do():
    x = to_fake_device(X)
    with pytest.raises(TypeError, match=r"np.add: a host array of shape \(2, 3, 4\), dtype float32 meets a"):
        x + Y
    with pytest.raises(TypeError, match=r"use a Python scalar"):
        x * np.float64(0.5)
    with pytest.raises(TypeError, match=r"float\(x\) copies a device array to the host .*to_numpy"):
        float(x.sum())


IMPLICIT = {
    "np.asarray": lambda x, s: np.asarray(x),
    "np.array": lambda x, s: np.array(x),
    "np.array of a list": lambda x, s: np.array([s, s]),
    "np.testing": lambda x, s: np.testing.assert_allclose(x, X),
    "float": lambda x, s: float(s),
    "int": lambda x, s: int(s),
    "complex": lambda x, s: complex(s),
    "bool": lambda x, s: bool(s),
    "if": lambda x, s: 1 if s > 0 else 0,
    "not": lambda x, s: not s,
    "chained comparison": lambda x, s: 0 < s < 1,
    "index": lambda x, s: [1, 2, 3][s.astype(int)],
    "range": lambda x, s: range(s.astype(int)),
    "slice bound": lambda x, s: x[: s.astype(int)],
    "math": lambda x, s: math.sqrt(s),
    "item": lambda x, s: s.item(),
    "tolist": lambda x, s: x.tolist(),
    "tobytes": lambda x, s: x.tobytes(),
    "iteration": lambda x, s: [row for row in x],
    "unpacking": lambda x, s: (lambda a, b: a)(*x),
    "max": lambda x, s: max(x[0, 0]),
    "in": lambda x, s: 1.0 in x,
    "format": lambda x, s: f"{s:.3f}",
    "array2string": lambda x, s: np.array2string(x),
    "pickle": lambda x, s: pickle.dumps(x),
}


@pytest.mark.parametrize("name", IMPLICIT)
def test_implicit_copies_to_the_host_are_refused_and_counted(name):
    x = to_fake_device(X)
    s = x[0, 0, 0]
    with count_synchronisations() as count, pytest.raises(TypeError, match="copies a device array"):
        IMPLICIT[name](x, s)
    assert count.n >= 1


def test_no_other_way_in_exists():
    x = to_fake_device(X)
    assert not isinstance(x, np.ndarray)
    with pytest.raises(TypeError):
        memoryview(x)
    with pytest.raises(TypeError):
        memoryview(x.data)  # CuPy's says where the memory of the device begins, and gives nothing of it
    for name in ("__array_interface__", "__array_struct__", "__dlpack__", "mT"):
        assert not hasattr(x, name)
    with pytest.raises(TypeError):
        hash(x)


def test_explicit_copies_and_masks_are_counted():
    x = to_fake_device(X)
    with count_synchronisations() as count:
        to_host(x)
        x.get()
        device_xp.asnumpy(x)
        assert count.n == 3
        x[x > 0]
        device_xp.nonzero(x)
        device_xp.where(x > 0)
    assert count.n == 6


def test_looking_at_an_array_costs_nothing():
    with count_synchronisations() as count:
        x = to_fake_device(X)
        assert repr(x) == f"{x}" == "DeviceArray(shape=(2, 3, 4), dtype=float32)"
    assert count.n == 0


# ---- the namespace


def test_namespace_of_an_array():
    x = to_fake_device(X)
    assert x.__array_namespace__() is device_xp is x.sum().__array_namespace__()
    assert device_xp.ndarray is DeviceArray
    assert device_xp.float32 is np.float32 and device_xp.pi == np.pi and device_xp.newaxis is None
    assert device_xp.finfo(x.dtype).eps == np.finfo("float32").eps
    assert device_xp.__name__ == "device_xp"


@pytest.mark.parametrize("name", [*sorted(LACKING), "vectorize", "random", "no_such_function"])
def test_what_cupy_lacks_is_absent(name):
    with pytest.raises(AttributeError):
        getattr(device_xp, name)


@pytest.mark.parametrize("name", sorted(LACKING_LINALG))
def test_what_cupy_linalg_lacks_is_absent(name):
    with pytest.raises(AttributeError):
        getattr(device_xp.linalg, name)


def test_numpy_functions_that_cupy_lacks_refuse_device_arrays():
    x = to_fake_device(X)
    for call in (lambda: np.insert(x, 0, 1.0), lambda: np.block([x, x]), lambda: np.linalg.vector_norm(x)):
        with pytest.raises(TypeError, match="CuPy has no"):
            call()


def test_ufunc_methods_that_cupy_lacks():
    x = to_fake_device(X)
    for name, method in (("add", "reduceat"), ("maximum", "reduce"), ("exp", "at"), ("divide", "accumulate")):
        assert name not in UFUNC_METHODS.get(method, ())
        with pytest.raises(AttributeError, match="CuPy has no"):
            getattr(getattr(device_xp, name), method)
    with pytest.raises(TypeError, match=r"CuPy has no maximum\.reduce"):
        np.maximum.reduce(x)
    with pytest.raises(TypeError, match=r"CuPy has no add\.reduceat"):
        np.add.reduceat(x, [0, 1])


def test_keywords_that_cupy_lacks():
    x = to_fake_device(X)
    for call in (
        lambda: device_xp.sum(x, initial=0.0),
        lambda: x.max(axis=-1, where=x > 0),
        lambda: np.add(x, x, order="C"),
    ):
        with pytest.raises(TypeError, match="no keyword"):
            call()
