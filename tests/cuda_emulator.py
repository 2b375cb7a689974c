"""CUDA kernels without a GPU: their very source, compiled by g++, thread by thread.

A thread of a block is a coroutine. The lanes of a warp take turns at every shuffle; a warp runs on until all its lanes
stand at a __syncthreads(), and only then the next warp runs at all, so that a missing one is seen: what a warp reads
then has not been written yet, or has been overwritten. The warps run in rising order, or, with `backwards`, in falling
order. Where threads stand at different places, RuntimeError is raised.
"""

import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from device_array import DeviceArray

GXX = shutil.which("g++") if sys.platform == "linux" else None  # elsewhere there is no ucontext.h to rely on
NVCC = shutil.which("nvcc")

SHIM = """
#include <cmath>
#include <cstring>
#include <ucontext.h>
#include <vector>
using std::exp; using std::log; using std::sqrt; using std::tanh; using std::erf; using std::fmax;
#define __global__
#define __device__
#define __launch_bounds__(threads)
#define __shared__ static

struct Index { unsigned x; };
static Index blockIdx, blockDim, threadIdx;

enum Place { BEGIN, SHUFFLE, SYNC, END };
struct Thread { ucontext_t context; std::vector<char> stack; Place place; double value; };
static std::vector<Thread> threads(1024);
static ucontext_t scheduler;

static void wait_at(Place place)
{
    Thread& thread = threads[threadIdx.x];
    thread.place = place;
    swapcontext(&thread.context, &scheduler);
}
static void __syncthreads() { wait_at(SYNC); }
template <typename Value> static Value __shfl_xor_sync(unsigned, Value value, int lanes)
{
    threads[threadIdx.x].value = value;
    wait_at(SHUFFLE);
    Value other = threads[threadIdx.x ^ lanes].value;
    wait_at(SHUFFLE);  // until all have read
    return other;
}

static unsigned __float_as_uint(float x) { unsigned bits; std::memcpy(&bits, &x, sizeof bits); return bits; }

static void (*kernel)(void**);
static void** arguments;
static void run_thread() { kernel(arguments); threads[threadIdx.x].place = END; }

static bool run_warp(int warp)  // until all its lanes stand at SYNC or END; false if they stand apart
{
    for (;;) {
        for (int lane = 0; lane < 32; lane++) {
            threadIdx.x = 32 * warp + lane;
            swapcontext(&scheduler, &threads[threadIdx.x].context);
        }
        Place place = threads[32 * warp].place;
        for (int lane = 0; lane < 32; lane++) if (threads[32 * warp + lane].place != place) return false;
        if (place != SHUFFLE) return true;
    }
}

static bool run_block(int warps, bool backwards)
{
    for (int t = 0; t < 32 * warps; t++) {
        Thread& thread = threads[t];
        thread.stack.resize(1 << 15);
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack.data();
        thread.context.uc_stack.ss_size = thread.stack.size();
        thread.context.uc_link = &scheduler;
        makecontext(&thread.context, run_thread, 0);
    }
    for (;;) {
        for (int w = 0; w < warps; w++) if (!run_warp(backwards ? warps - 1 - w : w)) return false;
        for (int w = 1; w < warps; w++) if (threads[32 * w].place != threads[0].place) return false;
        if (threads[0].place == END) return true;
    }
}

static bool run_grid(void (*entry)(void**), void** values, long long blocks, int size, bool backwards)
{
    kernel = entry;
    arguments = values;
    blockDim.x = size;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) if (!run_block(size / 32, backwards)) return false;
    return true;
}
"""


def together(sources):
    """One source of many: each {name, source} in a namespace of its own."""
    return "\n".join(
        f"namespace kernel_{k} {{\n{source}\n}}".replace('extern "C" ', "") for k, (_, source) in enumerate(sources)
    )


def parameter_types(source):
    """The types of the kernel's parameters, in their order."""
    parameters = re.search(r"__global__ void .*\n\w+\((.*)\)", source)[1]
    return [parameter.rpartition(" ")[0] for parameter in parameters.split(", ")]


class Emulator:
    """Plays ``minilora.arrays.backend.cuda_kernel``: ``emulator(name, source)`` is a kernel that takes DeviceArrays.

    Attributes
    ----------
    launched : list of str
        The names of the kernels that ran.
    backwards : bool
        Whether the last warp of a block runs first.
    """

    def __init__(self):
        self.compiled = {}
        self.launched = []
        self.backwards = False

    def compile(self, sources):
        """Compile several (name, source) at once, which takes less time than one after the other."""
        sources = [pair for pair in dict.fromkeys(sources) if pair not in self.compiled]
        if not sources:
            return
        entries = []
        for k, (name, source) in enumerate(sources):
            real = f"kernel_{k}::real"
            types = [re.sub(r"\breal\b", real, t) for t in parameter_types(source)]
            values = ", ".join(f"*({t.replace('const long', 'long')}*) a[{i}]" for i, t in enumerate(types))
            entries.append(f"static void entry_{k}(void** a) {{ kernel_{k}::{name}({values}); }}")
            entries.append(
                f'extern "C" bool run_{k}(void** a, long long blocks, int size, bool backwards)'
                f"{{ return run_grid(entry_{k}, a, blocks, size, backwards); }}"
            )
        with tempfile.TemporaryDirectory() as folder:
            code, library = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
            code.write_text("\n".join([SHIM, together(sources), *entries]), encoding="utf-8")
            command = [GXX, "-std=c++17", "-O1", "-fPIC", "-shared", "-o", str(library), str(code)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr)
            loaded = ctypes.CDLL(str(library))  # stays usable after its file has gone
        for k, pair in enumerate(sources):
            self.compiled[pair] = getattr(loaded, f"run_{k}")
            self.compiled[pair].restype = ctypes.c_bool

    def __call__(self, name, source):
        self.compile([(name, source)])
        run = self.compiled[name, source]
        types = parameter_types(source)

        def kernel(grid, block, args):
            assert len(args) == len(types), (name, types)
            self.launched.append(name)
            values = [np.array(_value(value, t)) for value, t in zip(args, types, strict=True)]
            pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
            blocks, threads = ctypes.c_longlong(*grid), ctypes.c_int(*block)
            if not run(pointers, blocks, threads, ctypes.c_bool(self.backwards)):
                raise RuntimeError(f"the threads of {name} stand at different places")

        return kernel


def _value(value, c_type):
    """The bytes that CuPy would hand over: a pointer, a number of the array's dtype, or a 64-bit integer."""
    if isinstance(value, DeviceArray):
        assert c_type.endswith("*"), c_type
        assert value.flags.c_contiguous
        return np.uint64(value._memory.ctypes.data)
    if isinstance(value, np.floating):
        assert c_type == "const real"
        return value
    assert type(value) is int and (c_type == "const long long" or (c_type.endswith("*") and value == 0)), c_type
    return np.int64(value)
