"""A GPU array without a GPU: `DeviceArray` computes with NumPy and obeys the rules of CuPy.

On a GPU, the wrong line costs a crash or, worse, a silent copy to the host and back. This class makes both
visible on any machine. It refuses

* to mix with host arrays and NumPy scalars (`np.float64(2) * x` would turn float32 into float64); Python
  scalars are fine;
* to be brought to the host implicitly: np.asarray(x), float(x), `if x:`, x.item(), iteration;
* the NumPy functions, keywords and ufunc methods that CuPy has not.

What comes out of an operation is a DeviceArray again; a reduction to a single number gives a 0-d DeviceArray,
as in CuPy.

    x = to_fake_device(np.ones((2, 3), np.float32))
    xp = x.__array_namespace__()            # device_xp, which plays the module cupy
    y = xp.exp(x) @ x.T                     # a DeviceArray
    to_host(y)                              # explicit, hence allowed; it counts as a synchronisation

It wraps a NumPy array and is no subclass of ndarray: np.asarray takes the memory of a subclass without asking
it, and isinstance(x, np.ndarray) is false for CuPy's arrays too. What it does not play: CuPy wraps an index
that is out of range; here it raises IndexError, as in NumPy.
"""

import types

import numpy as np

# Public names of NumPy 2.4 that CuPy 14 has not (its __init__ read against numpy.__all__).
LACKING = frozenset(
    """
    asmatrix block bmat busday_count busday_offset busdaycalendar character datetime64
    datetime_as_string datetime_data einsum_path errstate flexible frompyfunc fromregex geomspace
    getbufsize geterr geterrcall histogram_bin_edges insert is_busday isnat longdouble clongdouble
    matrix matvec memmap nanpercentile nanquantile ndenumerate nditer nested_iters polyder polydiv
    polyint recarray record setbufsize seterr seterrcall spacing timedelta64 unstack vecdot vecmat
    """.split()
)
LACKING_LINALG = frozenset("diagonal matrix_norm multi_dot outer svdvals tensordot trace vecdot vector_norm".split())
# CuPy has these in a form of its own; they are left out. Randomness comes from a host Generator, then moves.
NOT_PLAYED = frozenset("vectorize apply_along_axis piecewise random r_ c_ mgrid ogrid save savez savetxt".split())
IMPLICIT_COPIES = frozenset("array2string array_repr array_str".split())

# The ufunc methods beyond __call__ and outer exist for a few ufuncs only.
UFUNC_METHODS = {
    "at": {"add", "subtract", "maximum", "minimum"},
    "reduce": {"add", "multiply"},
    "accumulate": {"add", "multiply"},
}
UFUNC_KEYWORDS = {"out", "dtype", "casting", "where"}
# CuPy's reductions know neither `initial` nor `where`.
REDUCTIONS = frozenset("sum prod mean std var max min amax amin any all".split())
# Their result's shape depends on the data, so that the host has to wait for it.
SYNCHRONISING = frozenset("nonzero flatnonzero argwhere unique compress extract trim_zeros".split())
# NumPy returns a Python bool, CuPy a 0-d array.
TRUTH = frozenset("array_equal array_equiv allclose".split())
MOVING = frozenset("array asarray asanyarray ascontiguousarray asfortranarray".split())

METHODS = """
    all any argmax argmin argpartition argsort astype clip compress conj copy cumprod cumsum diagonal
    dot fill flatten max mean min nonzero partition prod ravel repeat reshape round searchsorted sort
    squeeze std sum swapaxes take trace transpose var view
""".split()
PROPERTIES = "shape dtype ndim size itemsize nbytes strides flags".split()


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that behaves as CuPy's do; made by `to_fake_device` or by `device_xp`."""

    __slots__ = ("_memory",)
    __hash__ = None
    synchronisations = 0  # times that the host had to wait for the device, allowed or refused

    def __init__(self, memory):
        self._memory = memory

    def __array_namespace__(self, *, api_version=None):
        return device_xp

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        _check_ufunc(ufunc, method, inputs, kwargs)
        return _call(getattr(ufunc, method), ufunc.__name__, inputs, kwargs)

    def __array_function__(self, function, kinds, args, kwargs):
        name = function.__name__
        if name in LACKING or (name in LACKING_LINALG and function is getattr(np.linalg, name)):
            raise TypeError(f"np.{name}: CuPy has no {name}")
        if name in IMPLICIT_COPIES | NOT_PLAYED:
            _refuse(f"np.{name}")
        return _call(function, name, args, kwargs)

    # ---- indexing

    def __getitem__(self, index):
        if _has_mask(index):
            DeviceArray.synchronisations += 1  # how many are True is known when the device is done
        index = _unwrap_index(index)
        index = index if isinstance(index, tuple) else (index,)
        if not any(i is Ellipsis for i in index):
            index = (*index, Ellipsis)  # x[0] of a 1-d x is a 0-d view, not a scalar
        return DeviceArray(self._memory[index])

    def __setitem__(self, index, value):
        if not isinstance(value, DeviceArray):
            _check_operand(value, "item assignment")
        self._memory[_unwrap_index(index)] = _unwrap(value, "item assignment")

    def __len__(self):
        return len(self._memory)

    # ---- the ways to the host: one is explicit, the others are refused

    def get(self):
        """A copy on the host, as cupy.ndarray.get."""
        DeviceArray.synchronisations += 1
        return self._memory.copy()

    def __format__(self, spec):
        return repr(self) if not spec else _refuse(f"format(x, {spec!r})")

    def __repr__(self):
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype})"

    def __reduce_ex__(self, protocol):
        _refuse("pickling")

    # ---- the rest

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    @property
    def T(self):
        return DeviceArray(self._memory.T)

    @property
    def data(self):
        """Where its memory begins, as CuPy says it: ``x.data.ptr``."""
        return types.SimpleNamespace(ptr=self._memory.ctypes.data)

    @property
    def real(self):
        return DeviceArray(self._memory.real)

    @property
    def imag(self):
        return DeviceArray(self._memory.imag)


def _add_members():
    def forward(name):
        return lambda self, *args, **kwargs: _call(getattr(np.ndarray, name), name, (self, *args), kwargs)

    def refuse(name, what):
        return lambda self, *args, **kwargs: _refuse(what)

    for name in METHODS:
        setattr(DeviceArray, name, forward(name))
    for name in PROPERTIES:
        setattr(DeviceArray, name, property(lambda self, name=name: getattr(self._memory, name)))
    for name, what in {
        "__array__": "np.asarray(x), or a NumPy function that calls it,",
        "__bool__": "bool(x), or a truth test (if x:, while x:, x and y),",
        "__contains__": "`value in x`",
        "__complex__": "complex(x)",
        "__float__": "float(x)",
        "__index__": "x as a Python index or a number of repetitions",
        "__int__": "int(x)",
        "__iter__": "iteration over x",
        "item": "x.item()",
        "tolist": "x.tolist()",
        "tobytes": "x.tobytes()",
    }.items():
        setattr(DeviceArray, name, refuse(name, what))


_add_members()


# ---- to and fro


def to_fake_device(array):
    """A copy of a host array as a DeviceArray (explicit, as cupy.asarray)."""
    return array if isinstance(array, DeviceArray) else DeviceArray(np.array(array, copy=True))


def to_host(array):
    """A copy of a DeviceArray on the host (explicit, as cupy.asnumpy); counts as a synchronisation."""
    return array.get() if isinstance(array, DeviceArray) else np.asarray(array)


class count_synchronisations:
    """How often the host waited for the device: `with count_synchronisations() as count: ...; count.n`."""

    def __enter__(self):
        self.start = DeviceArray.synchronisations
        return self

    def __exit__(self, *exception):
        pass

    @property
    def n(self):
        return DeviceArray.synchronisations - self.start


# ---- the module that plays cupy


class Namespace:
    """NumPy's functions for DeviceArrays, without those that CuPy lacks."""

    def __init__(self, module, name, lacking):
        self._module, self.__name__, self._lacking = module, name, lacking

    def __repr__(self):
        return f"<{self.__name__}: plays CuPy>"

    def __getattr__(self, name):
        if name in self._lacking or not hasattr(self._module, name):
            raise AttributeError(f"CuPy has no {name}")
        member = getattr(self._module, name)
        if name == "ndarray":
            return DeviceArray
        if name == "linalg":
            return Namespace(np.linalg, "device_xp.linalg", LACKING_LINALG)
        is_type = isinstance(member, type)
        plain_type = is_type and issubclass(member, (np.generic, np.dtype, np.finfo, np.iinfo))
        if name in NOT_PLAYED or isinstance(member, types.ModuleType) or (is_type and not plain_type):
            raise AttributeError(f"{name} is not played by {self.__name__} (tests/device_array.py)")
        if isinstance(member, np.ufunc):
            return DeviceUfunc(member)
        if plain_type or not callable(member):
            return member  # a dtype or a constant
        if name in MOVING:
            return lambda a, *args, **kwargs: _move(member, a, *args, **kwargs)
        return lambda *args, **kwargs: _call(member, name, args, kwargs)

    def asnumpy(self, array):
        return to_host(array)


class DeviceUfunc:
    """A ufunc of device_xp: `xp.add(x, y)`, and of its methods those that CuPy has."""

    def __init__(self, ufunc):
        self._ufunc = ufunc
        self.__name__ = ufunc.__name__

    def __call__(self, *inputs, **kwargs):
        _check_ufunc(self._ufunc, "__call__", inputs, kwargs)
        return _call(self._ufunc, self.__name__, inputs, kwargs)

    def __getattr__(self, method):
        if method != "outer" and self.__name__ not in UFUNC_METHODS.get(method, ()):
            raise AttributeError(f"CuPy has no {self.__name__}.{method}")

        def call(*inputs, **kwargs):
            _check_ufunc(self._ufunc, method, inputs, kwargs)
            return _call(getattr(self._ufunc, method), self.__name__, inputs, kwargs)

        return call


device_xp = Namespace(np, "device_xp", LACKING)


# ---- the rules


def _refuse(what):
    DeviceArray.synchronisations += 1
    raise TypeError(f"{what} copies a device array to the host implicitly; say minilora.arrays.backend.to_numpy(x)")


def _check_operand(value, where):
    """Raise TypeError for what may not stand beside a device array."""
    if isinstance(value, np.ndarray):
        raise TypeError(f"{where}: a host array of shape {value.shape}, dtype {value.dtype} meets a device array")
    if isinstance(value, np.generic):
        raise TypeError(
            f"{where}: the NumPy scalar {value!r} meets a device array, and would promote its dtype; "
            "use a Python scalar: float(value), int(value)"
        )
    if not isinstance(value, (DeviceArray, bool, int, float, complex)):
        raise TypeError(f"{where}: a {type(value).__name__} is neither a device array nor a Python scalar")


def _check_ufunc(ufunc, method, inputs, kwargs):
    name = f"{ufunc.__name__}.{method}"
    if method not in ("__call__", "outer") and ufunc.__name__ not in UFUNC_METHODS.get(method, ()):
        raise TypeError(f"np.{name}: CuPy has no {name}")
    if method in ("__call__", "outer"):
        for value in inputs:
            _check_operand(value, f"np.{ufunc.__name__}")
        if unknown := set(kwargs) - UFUNC_KEYWORDS:
            raise TypeError(f"np.{ufunc.__name__}: CuPy's has no keyword {', '.join(sorted(unknown))}")


def _call(function, name, args, kwargs):
    """The NumPy function on the arrays inside the DeviceArrays; its results as DeviceArrays."""
    if name in REDUCTIONS and (unknown := {"initial", "where"} & set(kwargs)):
        raise TypeError(f"np.{name}: CuPy's has no keyword {', '.join(sorted(unknown))}")
    if name in SYNCHRONISING or (name == "where" and len(args) == 1):
        DeviceArray.synchronisations += 1
    result = function(*_unwrap(args, f"np.{name}"), **_unwrap(kwargs, f"np.{name}"))
    out = kwargs.get("out")
    if out is not None:
        return out[0] if isinstance(out, tuple) and len(out) == 1 else out
    return DeviceArray(np.asarray(result)) if name in TRUTH else _wrap(result)


def _move(function, array, *args, **kwargs):
    """array, asarray, ...: of a DeviceArray as NumPy does it, of anything else a copy on the device."""
    if isinstance(array, DeviceArray):
        result = function(array._memory, *args, **kwargs)
        return array if result is array._memory else DeviceArray(result)
    return DeviceArray(np.array(function(array, *args, **kwargs), copy=True))


def _wrap(result):
    if isinstance(result, (np.ndarray, np.generic)):
        return DeviceArray(np.asarray(result))
    if isinstance(result, (tuple, list)):
        results = [_wrap(r) for r in result]
        return type(result)._make(results) if hasattr(result, "_fields") else type(result)(results)
    return result


def _unwrap(value, where):
    if isinstance(value, DeviceArray):
        return value._memory
    if isinstance(value, (np.ndarray, np.generic)):
        _check_operand(value, where)
    if isinstance(value, (tuple, list)):
        return type(value)(_unwrap(v, where) for v in value)
    if isinstance(value, dict):
        return {key: _unwrap(v, where) for key, v in value.items()}
    return value


def _unwrap_index(index):
    if isinstance(index, tuple):
        return tuple(_unwrap_index(i) for i in index)
    if isinstance(index, np.integer):
        return int(index)
    return _unwrap(index, "indexing")


def _has_mask(index):
    index = index if isinstance(index, tuple) else (index,)
    return any(isinstance(i, DeviceArray) and i.dtype == bool for i in index)
