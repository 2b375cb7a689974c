"""The CUDA source of attention without the array of scores; `flash_attention.py` derives it.

LANES threads of a warp share a row of K numbers, a query or a key, in their registers: four neighbouring columns each,
in turn, so that a warp reads shared memory 16 bytes at a time. A block has THREADS of them, and so ROWS rows; the rows
that they meet come in tiles of TILE through shared memory. All arrays of heads are laid out as (N, T, H, K).
"""

import functools
import math
from typing import Any, NamedTuple

from minilora.arrays.kernel_signature import real_type

THREADS = 128  # of a block
BYTES_OF_A_ROW = 128  # that a thread holds: of four rows at once, which is half of the registers that it can have
BYTES_OF_A_TILE = 16384  # at most; a block has two tiles, and 48 KB of shared memory
CHUNK = 8  # keys between which the forward rescales its sums
MOST_COLUMNS = 256  # K, at most

SHARED = """
__device__ int column(int c) { return (c / 4 * LANES + (int) threadIdx.x % LANES) * 4 + c % 4; }  // a thread's c-th

__device__ real over_lanes(real sum)  // the sum over the threads of a row, for each of them
{
    for (int lanes = LANES / 2; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
    return sum;
}

__device__ real dot(const real* mine, const real* row)  // of a row in registers and one in shared memory
{
    real sum = 0;
    #pragma unroll
    for (int c = 0; c < COLUMNS; c++) sum += mine[c] * row[column(c)];
    return over_lanes(sum);
}

__device__ void add(real* mine, real factor, const real* row)  // mine += factor * row
{
    #pragma unroll
    for (int c = 0; c < COLUMNS; c++) mine[c] += factor * row[column(c)];
}

__device__ void read(real* mine, const real* row, bool exists, real factor)
{
    #pragma unroll
    for (int c = 0; c < COLUMNS; c++) mine[c] = exists && column(c) < K ? factor * row[column(c)] : 0;
}

__device__ void write(real* row, const real* mine, bool exists, real factor)
{
    #pragma unroll
    for (int c = 0; c < COLUMNS; c++) if (exists && column(c) < K) row[column(c)] = factor * mine[c];
}

__device__ void read_tile(real (*tile)[WIDTH], const real* rows, long long stride, long long first, long long stop,
    real factor)  // rows first, first + 1, ...; zeros from `stop` on
{
    for (int e = threadIdx.x; e < TILE * WIDTH; e += THREADS) {
        const int t = e / WIDTH, c = e % WIDTH;
        tile[t][c] = first + t < stop && c < K ? factor * rows[(first + t) * stride + c] : 0;
    }
}

struct Range { long long start, stop; };

__device__ Range text_of(long long position, const int* texts, long long n, long long J)
{
    if (!texts) return {0, J};
    const int* bounds = texts + 2 * (n * J + position);
    return {bounds[0], bounds[1]};
}
"""

# Each block of the first two has ROWS queries of a head, and meets the keys that one of them sees. The blocks of the
# last queries, which see the most keys, come first, so that none of them is left over at the end.
QUERIES_OF_A_BLOCK = """
    alignas(16) __shared__ real keys[TILE][WIDTH], values[TILE][WIDTH];
    const long long h = blockIdx.x % H, n = blockIdx.x / H % N, g = h / (H / G);
    const long long first = ((I + ROWS - 1) / ROWS - 1 - blockIdx.x / (N * H)) * ROWS;
    const long long i = first + threadIdx.x / LANES, last = first + ROWS < I ? first + ROWS - 1 : I - 1;
    const bool exists = i < I;
    const long long row = ((n * I + i) * H + h) * K, number = (n * H + h) * I + i, past = J - I;
    const Range text = text_of(past + (exists ? i : last), texts, n, J);
    const long long stop = !exists ? 0 : causal ? past + i + 1 : text.stop;
    const long long j_first = text_of(past + first, texts, n, J).start;
    const long long j_last = causal ? past + last + 1 : text_of(past + last, texts, n, J).stop;
    auto sees = [&](long long j) {
        return text.start <= j && j < stop && (!padding_mask || padding_mask[n * J + j]);
    };
"""
TILE_OF_KEYS = """
        __syncthreads();  // until all have met the tile before
        read_tile(keys, k + (n * J * G + g) * K, G * K, j_tile, J, 1);
        read_tile(values, v + (n * J * G + g) * K, G * K, j_tile, J, 1);
        __syncthreads();
"""

FORWARD = f"""
    {QUERIES_OF_A_BLOCK}
    real q_i[COLUMNS], o[COLUMNS] = {{}}, largest = LOWEST, sum = 0;
    read(q_i, q + row, exists, SCALE);
    for (long long j_tile = j_first; j_tile < j_last; j_tile += TILE) {{
        {TILE_OF_KEYS}
        for (int j = 0; j < TILE; j += CHUNK) {{
            real scores[CHUNK], before = largest;
            bool seen[CHUNK];
            #pragma unroll
            for (int c = 0; c < CHUNK; c++) {{
                scores[c] = dot(q_i, keys[j + c]);
                seen[c] = sees(j_tile + j + c);
                if (seen[c]) largest = fmax(largest, scores[c]);
            }}
            const real shrink = exp(before - largest);
            sum *= shrink;
            #pragma unroll
            for (int c = 0; c < COLUMNS; c++) o[c] *= shrink;
            #pragma unroll
            for (int c = 0; c < CHUNK; c++) {{
                const real p = seen[c] ? exp(scores[c] - largest) : 0;
                sum += p;
                add(o, p, values[j + c]);
            }}
        }}
    }}
    sum = fmax(sum, TINY);  // 0 / 0 would be NaN
    write(y + row, o, exists, 1 / sum);
    if (exists) lse[number] = largest + log(sum);
"""

BACKWARD_QUERIES = f"""
    {QUERIES_OF_A_BLOCK}
    real q_i[COLUMNS], dy_i[COLUMNS], dq_i[COLUMNS] = {{}}, D_i = 0;
    read(q_i, q + row, exists, SCALE);
    read(dy_i, dy + row, exists, 1);
    #pragma unroll
    for (int c = 0; c < COLUMNS; c++) if (exists && column(c) < K) D_i += dy_i[c] * y[row + column(c)];
    D_i = over_lanes(D_i);
    const real lse_i = exists ? lse[number] : 0;
    if (exists) D[number] = D_i;  // of every lane, the same
    for (long long j_tile = j_first; j_tile < j_last; j_tile += TILE) {{
        {TILE_OF_KEYS}
        #pragma unroll 1  // registers are for rows
        for (int j = 0; j < TILE; j++) {{
            const real score = dot(q_i, keys[j]), dp = dot(dy_i, values[j]);
            const real p = sees(j_tile + j) ? exp(score - lse_i) : 0;
            add(dq_i, p * (dp - D_i), keys[j]);
        }}
    }}
    write(dq + row, dq_i, exists, SCALE);
"""

# Each block has ROWS keys of a group, and meets the queries that see one of them, head by head.
BACKWARD_KEYS = """
    alignas(16) __shared__ real queries[TILE][WIDTH], dys[TILE][WIDTH];
    __shared__ real lses[TILE], Ds[TILE];
    const long long g = blockIdx.x % G, n = blockIdx.x / G % N, first = blockIdx.x / (N * G) * ROWS;
    const long long j = first + threadIdx.x / LANES, last = first + ROWS < J ? first + ROWS - 1 : J - 1;
    const bool exists = j < J && (!padding_mask || padding_mask[n * J + j]);
    const long long row = ((n * J + j) * G + g) * K, past = J - I;
    const Range text = text_of(j < J ? j : last, texts, n, J);
    const long long start = (causal ? j : text.start) - past, stop = exists ? text.stop - past : 0;
    const long long i_first = (causal ? first : text_of(first, texts, n, J).start) - past;
    const long long i_last = text_of(last, texts, n, J).stop - past;
    real k_j[COLUMNS], v_j[COLUMNS], dk_j[COLUMNS] = {}, dv_j[COLUMNS] = {};
    read(k_j, k + row, exists, 1);
    read(v_j, v + row, exists, 1);
    for (long long h = g * (H / G); h < (g + 1) * (H / G); h++) {
        for (long long i_tile = i_first > 0 ? i_first : 0; i_tile < i_last; i_tile += TILE) {
            __syncthreads();  // until all have met the tile before
            read_tile(queries, q + (n * I * H + h) * K, H * K, i_tile, I, SCALE);
            read_tile(dys, dy + (n * I * H + h) * K, H * K, i_tile, I, 1);
            if (threadIdx.x < TILE) {
                const long long i = i_tile + threadIdx.x, number = (n * H + h) * I + i;
                lses[threadIdx.x] = i < I ? lse[number] : 0;
                Ds[threadIdx.x] = i < I ? D[number] : 0;
            }
            __syncthreads();
            #pragma unroll 1  // registers are for rows
            for (int i = 0; i < TILE; i++) {
                const real score = dot(k_j, queries[i]), dp = dot(v_j, dys[i]);
                const real p = start <= i_tile + i && i_tile + i < stop ? exp(score - lses[i]) : 0;
                add(dv_j, p, dys[i]);
                add(dk_j, p * (dp - Ds[i]), queries[i]);
            }
        }
    }
    write(dk + row, dk_j, j < J, 1);
    write(dv + row, dv_j, j < J, 1);
"""
SEEN = ("const bool* padding_mask", "const int* texts", "const long long causal")
SIZES = tuple(f"const long long {size}" for size in ("N", "H", "G", "I", "J"))
HEADS = ("const real* q", "const real* k", "const real* v")
KERNELS = {
    "flash_forward": (FORWARD, (*HEADS, *SEEN, "real* y", "real* lse", *SIZES)),
    "flash_dq": (
        BACKWARD_QUERIES,
        (*HEADS, *SEEN, "const real* y", "const real* lse", "const real* dy", "real* dq", "real* D", *SIZES),
    ),
    "flash_dk_dv": (
        BACKWARD_KEYS,
        (*HEADS, *SEEN, "const real* lse", "const real* D", "const real* dy", "real* dk", "real* dv", *SIZES),
    ),
}


class Layout(NamedTuple):
    """How threads share rows of K numbers."""

    lanes: int  # threads of a row
    columns: int  # of a thread: a multiple of four
    tile: int  # rows of a tile

    @property
    def rows(self) -> int:
        """How many rows a block has."""
        return THREADS // self.lanes


def layout_of(K: int, itemsize: int) -> Layout:
    """As few threads a row as can hold it."""
    lanes = 1
    while K * itemsize > lanes * BYTES_OF_A_ROW:
        lanes *= 2
    columns = 4 * math.ceil(K / (4 * lanes))
    rows = BYTES_OF_A_TILE // (lanes * columns * itemsize)
    return Layout(lanes, columns, min(max(rows // CHUNK, 1) * CHUNK, 4 * CHUNK))


@functools.cache
def source(name: str, K: int, dtype: Any) -> tuple[str, str]:
    """The name and the CUDA source of a kernel of KERNELS for heads of size K.

    Parameters
    ----------
    name : str
    K : int
    dtype : numpy.dtype
        Of float32 or float64.
    """
    body, parameters = KERNELS[name]
    lanes, columns, tile = layout = layout_of(K, dtype.itemsize)
    entry = f"{name}_{K}_{dtype.name}"
    return entry, (
        f"{real_type(dtype.char)}"
        f"constexpr int K = {K}, LANES = {lanes}, COLUMNS = {columns}, WIDTH = LANES * COLUMNS, TILE = {tile};\n"
        f"[[maybe_unused]] constexpr int THREADS = {THREADS}, ROWS = {layout.rows}, CHUNK = {CHUNK};\n"
        f"constexpr real SCALE = {1.0 / math.sqrt(K)!r};\n"
        f"{SHARED}\n"
        f'extern "C" __global__ void __launch_bounds__({THREADS})\n'
        f"{entry}({', '.join(parameters)})\n{{\n{body}\n}}\n"
    )
