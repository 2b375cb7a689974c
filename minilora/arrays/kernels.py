'''Formulas that run as one kernel on a GPU.

On a GPU, each line of a formula is a kernel of its own: launching it takes as long as computing a small array, and it
reads and writes whole arrays. So a formula can be accompanied by CUDA source that does all its lines at once, with the
same names:

    @fused("x[...; V] -> x[...; V]", """
        const real largest = MAX(v, x[v]);
        EACH(v) x[v] = exp(x[v] - largest);
        const real sum = SUM(v, x[v]);
        EACH(v) x[v] /= sum;
    """)
    def softmax_inplace(x):
        x -= x.max(axis=-1, keepdims=True)
        ...

The decorated function is the formula; only CuPy's arrays of float32 and float64 take the kernel. Skip this
if you do not care about GPUs.

The first line names the function's arguments in order, and its results after the arrow:

    x[...; C]          rows of C numbers, one per block of threads, for which x is that row
    scores[N, T; J]    the same, with the leading axes by name; `row` = n T + t is the row's number
    x[...]             an array; each thread computes its element i. Either all of a kernel's arrays are such, or none
    gain[C]            an array as it is, the same for every row
    eps                a Python number
    _                  an argument that the formula needs and the kernel does not

A result with an argument's name is that array, overwritten; others are new, of the first array's dtype. The axes' names
are integers in the source. `real` is float or double, LOWEST the lowest and TINY the smallest positive number of that
type, MAX(c, term) and SUM(c, term) go over a row, and EACH(c) is a loop over the columns of this thread: only this
thread may read what it writes at c, until the next MAX or SUM.
'''

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from minilora.arrays.backend import ArrayModule, cuda_kernel, get_xp, on_gpu
from minilora.arrays.kernel_signature import REALS, bind, c_type, operands, real_type

PRELUDE = """
struct Plus { __device__ real operator()(real a, real b) const { return a + b; } };
struct Larger { __device__ real operator()(real a, real b) const { return fmax(a, b); } };

template <typename Join>
__device__ real join_block(real value, Join join)  // the values of all threads of a block, joined, for each of them
{
    __shared__ real of_warp[32];
    const int warps = blockDim.x / 32;
    for (int lanes = 16; lanes > 0; lanes /= 2) value = join(value, __shfl_xor_sync(0xffffffffu, value, lanes));
    __syncthreads();  // until of_warp has been read by all, the last time
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
    __syncthreads();
    value = of_warp[0];
    for (int warp = 1; warp < warps; warp++) value = join(value, of_warp[warp]);
    return value;
}

template <typename Join, typename Term>
__device__ real join_row(long long columns, real value, Join join, Term term)  // term(0), ..., term(columns - 1)
{
    for (long long c = threadIdx.x; c < columns; c += blockDim.x) value = join(value, term(c));
    return join_block(value, join);
}

#define SUM(c, term) join_row(columns, 0, Plus(), [&](long long c) -> real { return term; })
#define MAX(c, term) join_row(columns, LOWEST, Larger(), [&](long long c) -> real { return term; })
#define EACH(c) for (long long c = threadIdx.x; c < columns; c += blockDim.x)
"""
COLUMNS_A_THREAD = 4  # in a short row; a long one has MOST_THREADS
MOST_THREADS = 1024
ELEMENTS_A_BLOCK = 256
MOST_BLOCKS = 2**31 - 1


def takes_kernels(array: Any) -> bool:
    """True for an array that lives on the GPU and holds numbers that a kernel calls `real`."""
    return on_gpu(array) and array.dtype.char in REALS


def launch(name: str, source: str, blocks: int, threads: int, arguments: tuple) -> None:
    """Launch the kernel `name` of a CUDA source in CuPy's current stream, and do not wait for it."""
    cuda_kernel(name, source)((blocks,), (threads,), arguments)


def fused(signature: str, body: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a formula: on CuPy's arrays, one kernel takes its place. See the module's docstring.

    The decorated function takes its arguments by position. Its `formula` is the undecorated one, its `kernel` a Kernel.
    """

    def decorate(formula: Callable[..., Any]) -> Any:
        name = f"{formula.__module__}.{formula.__name__}".rpartition("minilora.")[2]
        kernel = Kernel(re.sub(r"\W+_?", "_", name), signature, body)

        @functools.wraps(formula)
        def either(*args: Any) -> Any:
            planned = kernel.launch_for(args) if on_gpu(args[0]) else None
            return formula(*args) if planned is None else kernel.run(planned, args)

        either.formula, either.kernel = formula, kernel  # type: ignore[attr-defined]
        return either

    return decorate


class Launch(NamedTuple):
    """What stays the same between calls with arrays of the same shapes and dtypes."""

    name: str
    source: str
    blocks: int
    threads: int
    sizes: tuple  # the integers that the kernel gets after the operands
    shapes: tuple  # of the new results


class Kernel:
    """A signature and a CUDA body.

    Parameters
    ----------
    name : str
    signature, body : str
        See the module's docstring.
    """

    def __init__(self, name: str, signature: str, body: str) -> None:
        self.name = name
        self.body = body
        self.arguments, self.results = (operands(side) for side in signature.split("->"))
        names = {operand.name for operand in self.arguments}
        self.written = {operand.name for operand in self.results}
        self.new = [operand for operand in self.results if operand.name not in names]
        self._launch_for = functools.lru_cache(maxsize=1024)(self._find_launch)

    def launch_for(self, args: Sequence[Any]) -> Launch | None:
        """The Launch for these arguments, or None if the formula itself has to compute them.

        None for other dtypes, for empty arrays, for shapes that do not fit (the formula raises the error), and for a
        result that cannot be written in place because it is not contiguous.
        """
        return self._launch_for(tuple(map(_description, args)))

    def _find_launch(self, descriptions: tuple[Any, ...]) -> Launch | None:
        axes: dict[str, Any] = {}
        types: dict[str, str] = {}
        for operand, about in zip(self.arguments, descriptions, strict=True):
            found = c_type(operand, about)
            if found is None or not (about is None or bind(operand, about, axes)):
                return None
            if operand.name in self.written and not about.contiguous:
                return None
            types[operand.name] = found
        chars = {about.char for about in descriptions if getattr(about, "char", None) in REALS}
        lead, columns = axes.pop("..."), axes.get(self._column)
        count = math.prod(lead)
        if columns is None:
            blocks, threads = math.ceil(count / ELEMENTS_A_BLOCK), ELEMENTS_A_BLOCK
        else:
            blocks, threads = count, min(32 * math.ceil(columns / (32 * COLUMNS_A_THREAD)), MOST_THREADS)
        if len(chars) != 1 or descriptions[0].char not in REALS or count * threads == 0 or blocks > MOST_BLOCKS:
            return None
        sizes = {"count": count, **axes}
        name, source = self.source(descriptions[0].char, types, sizes)
        shapes = tuple((*lead, axes.get(new.column, 1)) if new.column else lead for new in self.new)
        return Launch(name, source, blocks, threads, tuple(sizes.values()), shapes)

    @property
    def _column(self) -> str:
        """The name of the axis that MAX, SUM and EACH go along; "" if each thread has one element."""
        return next((operand.column for operand in self.arguments if operand.kind == "rows"), "")

    def source(self, char: str, types: Mapping[str, str], sizes: Iterable[str]) -> tuple[str, str]:
        """The name and the whole CUDA source of the kernel.

        Parameters
        ----------
        char : str
            The type of `real`, as NumPy's dtype.char.
        types : dict of str to str
            The C type of each argument; for an array, that of its elements.
        sizes : iterable of str
            The names of the integers that follow.
        """
        name = f"{self.name}_{REALS[char]}"
        parameters, lines = [], []
        for operand in (*(o for o in self.arguments if o.kind != "unused"), *self.new):
            of_c = types.get(operand.name, "real")
            const = "" if operand.name in self.written else "const "
            if operand.kind == "number":
                parameters.append(f"const {of_c} {operand.name}")
            elif operand.kind == "rows":
                parameters.append(f"{const}{of_c}* all_{operand.name}")
                lines.append(f"{const}{of_c}* {operand.name} = all_{operand.name} + row * {operand.column};")
            else:
                parameters.append(f"{const}{of_c}* {operand.name}")
        parameters += [f"const long long {size}" for size in sizes]
        body = "\n".join(["", *lines, self.body.strip("\n")])
        if self._column:
            body = f"const long long row = blockIdx.x, columns = {self._column};{body}"
        else:
            body = f"if (i < count) {{{body}\n}}"
            body = f"const long long i = (long long) blockIdx.x * blockDim.x + threadIdx.x;\n{body}"
        return name, (
            f"{real_type(char)}{PRELUDE}\n"
            f'extern "C" __global__ void __launch_bounds__({MOST_THREADS})\n'
            f"{name}({', '.join(parameters)})\n{{\n{body}\n}}\n"
        )

    def run(self, planned: Launch, args: Sequence[Any]) -> Any:
        """Launch the kernel in CuPy's current stream, and return the results without waiting for them."""
        xp, dtype = get_xp(args[0]), args[0].dtype
        values = {
            operand.name: _value(xp, dtype, value)
            for operand, value in zip(self.arguments, args, strict=True)
            if operand.kind != "unused"
        }
        values |= {new.name: xp.empty(shape, dtype) for new, shape in zip(self.new, planned.shapes, strict=True)}
        arguments = (*values.values(), *planned.sizes)
        launch(planned.name, planned.source, planned.blocks, planned.threads, arguments)
        results = tuple(values[operand.name] for operand in self.results)
        return results if len(results) > 1 else results[0]


class _Array(NamedTuple):
    """The properties that decide how an array is computed."""

    shape: tuple
    char: str  # of its dtype; "" for one that does not live on the GPU
    contiguous: bool


def _description(value: Any) -> Any:
    """An _Array, or the type of a Python number, or None."""
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return float if isinstance(value, float) else int
    return _Array(value.shape, value.dtype.char if on_gpu(value) else "", value.flags.c_contiguous)


def _value(xp: ArrayModule, dtype: Any, value: Any) -> Any:
    """An argument as it is passed to the kernel."""
    if value is None:
        return 0  # the null pointer
    if isinstance(value, (int, float)):
        return dtype.type(value) if isinstance(value, float) else int(value)
    return value if value.flags.c_contiguous else xp.ascontiguousarray(value)
