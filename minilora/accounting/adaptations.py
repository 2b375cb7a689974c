"""How many parameters each method of the paper trains: its section 5.1, for any Architecture, without a model.

With d = C, and r the rank of LoRA or the bottleneck of an adapter, the trained parameters |Theta| are

    full               every parameter
    top-k              the last k blocks
    bitfit             every bias, of linear maps and LayerNorms
    prefix-embedding   d (l_p + l_i)                         l_p new tokens before the prompt, and l_i after it
    prefix-layer       L d (l_p + l_i)                       the same number of activations for every block
    adapter-*          L_adapter (2 d r + r + d) + 2 L_LN d  a bottleneck d -> r -> d with its two biases
        -h             two a block, L_LN = 0                 (Houlsby et al., 2019)
        -l             one per block, with a LayerNorm each    (Lin et al., 2020)
        -p             one per block, L_LN = 0                 (Pfeiffer et al., 2021)
        -d             -p without those of the first blocks  (AdapterDrop, Rücklé et al., 2021)
    lora               the sum of r (O + I) over the adapted matrices, 2 d r for a square one
    lora-fa            the sum of r O: A is frozen, and r I numbers of it are held        (Zhang et al., 2023)
    dora               lora, and a magnitude for each row, O (Liu et al., 2024)
    lora+prefix-*      both at once: the sum of the two      (the paper's LoRA+PE and LoRA+PL, appendix E)
    vera               the sum of r + O: two vectors for each adapted matrix              (Kopiczko et al., 2023)
    random-subspace    d, however large the adapted matrices are              (Li et al., 2018)

An adaptation also says what training costs: how far down the backward goes, which matrices get a gradient, and what
else each token leaves in memory; `accounting/costs.py` uses that.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from minilora.accounting.architectures import GATED_TARGETS, TARGETS, Architecture, size


class Adaptation(NamedTuple):
    """What is trained, in numbers (not bytes)."""

    own: int  # parameters of the model itself
    added: int  # new parameters
    own_matrices: int  # numbers of the model's matrices that get a dW
    added_matrices: int  # those of `added` that do
    depth: int  # number of blocks that the backward goes through, from the top
    kept: int = 0  # values that each token keeps for the gradients of what is trained
    prefix: int = 0  # positions that come in addition to the text's
    held: int = 0  # values that a step holds besides all parameters
    constant_matrices: int = 0  # numbers of new matrices that are multiplied with, and never get a dW

    @property
    def trainable(self) -> int:
        """|Theta|."""
        return self.own + self.added


@dataclass(frozen=True)
class Settings:
    """The settings of all methods; each uses its own.

    Parameters
    ----------
    rank : int
        r of lora (also with a prefix), lora-fa and dora.
    targets : sequence of str
        The matrices that these and random-subspace adapt, any of q_proj, k_proj, v_proj, o_proj, fc_in, fc_out; or, in
        a Llama, gate_proj, up_proj and down_proj in place of the last two.
    blocks : int
        k of top-k.
    size : int
        r of the adapters.
    leave_out : int
        How many of the lowest blocks have no adapter in adapter-d.
    before, after : int
        l_p and l_i of the prefixes.
    dimension : int
        d of random-subspace.
    vera_rank : int
        r of vera.
    """

    rank: int = 8
    targets: Sequence[str] = ("q_proj", "v_proj")
    blocks: int = 2
    size: int = 8
    leave_out: int = 1
    before: int = 5
    after: int = 5
    dimension: int = 1000
    vera_rank: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(dict.fromkeys(self.targets)))
        for name in ("rank", "blocks", "size", "dimension", "vera_rank"):
            _check(name, getattr(self, name), 1)
        for name in ("leave_out", "before", "after"):
            _check(name, getattr(self, name), 0)
        if self.before + self.after == 0:
            raise ValueError("before and after were 0; at least one of them must be above 0")
        _check_targets(self.targets, dict.fromkeys((*TARGETS, *GATED_TARGETS)))


def _check_targets(targets: Sequence[str], possible: Iterable[str]) -> None:
    if not targets or not set(targets) <= set(possible):
        raise ValueError(f"targets was {targets}; each must be one of {', '.join(possible)}")


def _check(name: str, value: Any, least: int, most: int | None = None) -> None:
    if not isinstance(value, int) or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} was {value!r}; it must be an integer {limits}")


def adaptation(architecture: Architecture, method: str, **settings: Any) -> Adaptation:
    """What a method trains on an architecture.

    Parameters
    ----------
    architecture : Architecture
    method : str
        One of METHODS.
    **settings
        The fields of `Settings`.

    Returns
    -------
    Adaptation

    Raises
    ------
    ValueError
        If the method is unknown, or a setting does not fit the architecture.
    """
    if method not in METHODS:
        raise ValueError(f"method was {method!r}; it must be one of {', '.join(METHODS)}")
    return METHODS[method](architecture, Settings(**settings))


def inputs(a: Architecture, targets: Iterable[str]) -> int:
    """How many values per token keeps in a block for the dW, or dA, of these linear maps: their inputs.

    q_proj, k_proj and v_proj read one array. A Llama only keeps what o_proj reads; what the others read is made again
    (`layers/made_again.py`).
    """
    C, F, adapted = a.d_model, a.d_mlp, set(targets)
    of_o = a.n_head * a.head_size if "o_proj" in adapted else 0
    if a.gated:
        return of_o
    of_qkv = C if {"q_proj", "k_proj", "v_proj"} & adapted else 0
    return of_qkv + of_o + C * ("fc_in" in adapted) + F * ("fc_out" in adapted)


def full(a: Architecture, s: Settings) -> Adaptation:
    """Every parameter."""
    head = a.vocab_size * a.d_model if a.causal else 0  # tied or not, it multiplies activations
    conv = a.conv_width * a.d_model**2
    matrices, kept = (a.n_layer * each for each in (a.block_matrices, inputs(a, a.linear_shapes)))
    return Adaptation(a.n_parameters, 0, matrices + head + conv, 0, a.n_layer, kept)


def top_k(a: Architecture, s: Settings) -> Adaptation:
    """The last k blocks, without the LayerNorm that follows: that is the paper's 25.19M."""
    _check("blocks", s.blocks, 1, a.n_layer)
    own, matrices, kept = (
        s.blocks * each for each in (size(a.block_shapes), a.block_matrices, inputs(a, a.linear_shapes))
    )
    return Adaptation(own, 0, matrices, 0, s.blocks, kept)


def bitfit(a: Architecture, s: Settings) -> Adaptation:
    """Every bias. No matrix is trained, but the gradient of the lowest bias comes down through all of them."""
    if not a.n_biases:
        raise ValueError("method was 'bitfit', but the architecture has no biases to train")
    return Adaptation(a.n_biases, 0, 0, 0, a.n_layer)


def prefix_embedding(a: Architecture, s: Settings) -> Adaptation:
    """The paper's PreEmbed: |Theta| = d (l_p + l_i)."""
    length = s.before + s.after
    return Adaptation(0, length * a.d_model, 0, 0, a.n_layer, prefix=length)


def prefix_layer(a: Architecture, s: Settings) -> Adaptation:
    """The paper's PreLayer: |Theta| = L d (l_p + l_i)."""
    length = s.before + s.after
    return Adaptation(0, a.n_layer * length * a.d_model, 0, 0, a.n_layer, prefix=length)


def _adapters(a: Architecture, s: Settings, count: int, depth: int, layernorm: bool = False) -> Adaptation:
    """`count` bottlenecks; each keeps its input, the nonlinearity's slope and its output: C + 2 r values per token."""
    C, r = a.d_model, s.size
    added, kept = 2 * C * r + r + C, C + 2 * r
    if layernorm:
        added, kept = added + 2 * C, kept + C + 1  # gain and bias; xhat and the deviation
    return Adaptation(0, count * added, 0, count * 2 * C * r, depth, kept=count * kept)


def adapter_h(a: Architecture, s: Settings) -> Adaptation:
    """Houlsby: after the attention and after the MLP of each block."""
    return _adapters(a, s, 2 * a.n_layer, a.n_layer)


def adapter_l(a: Architecture, s: Settings) -> Adaptation:
    """Lin: after the MLP of each block, with a LayerNorm of its own before it."""
    return _adapters(a, s, a.n_layer, a.n_layer, layernorm=True)


def adapter_p(a: Architecture, s: Settings) -> Adaptation:
    """Pfeiffer: after the MLP of each block."""
    return _adapters(a, s, a.n_layer, a.n_layer)


def adapter_d(a: Architecture, s: Settings) -> Adaptation:
    """AdapterDrop: Pfeiffer's, without those of the lowest blocks, so that the backward need not reach these."""
    _check("leave_out", s.leave_out, 0, a.n_layer - 1)
    return _adapters(a, s, a.n_layer - s.leave_out, a.n_layer - s.leave_out)


def lora(a: Architecture, s: Settings) -> Adaptation:
    """r (O + I) for each adapted matrix; a token keeps what they read, and the r values of x A^T for each."""
    _check_targets(s.targets, a.linear_shapes)
    shapes = [a.linear_shapes[name] for name in s.targets]
    _check("rank", s.rank, 1, min(min(shape) for shape in shapes))
    added = a.n_layer * sum(s.rank * (O + I) for O, I in shapes)
    kept = a.n_layer * (inputs(a, s.targets) + len(shapes) * s.rank)
    return Adaptation(0, added, 0, added, a.n_layer, kept)


def dora(a: Architecture, s: Settings) -> Adaptation:
    """LoRA's, and a magnitude for each of the O rows of W; a token also keeps the O values that these scale."""
    rows = a.n_layer * sum(a.linear_shapes[name][0] for name in s.targets)
    of_lora = lora(a, s)
    return of_lora._replace(added=of_lora.added + rows, kept=of_lora.kept + rows)


def lora_fa(a: Architecture, s: Settings) -> Adaptation:
    """LoRA's B; A is held, and multiplied with, but of what a matrix reads only the r values of x A^T are kept."""
    of_lora = lora(a, s)
    of_A = a.n_layer * sum(s.rank * a.linear_shapes[name][1] for name in s.targets)
    of_B, kept = of_lora.added - of_A, a.n_layer * len(s.targets) * s.rank
    return Adaptation(0, of_B, 0, of_B, a.n_layer, kept, held=of_A, constant_matrices=of_A)


def with_prefix(
    prefix: Callable[[Architecture, Settings], Adaptation],
) -> Callable[[Architecture, Settings], Adaptation]:
    """LoRA and one of the prefixes at once."""

    def both(a: Architecture, s: Settings) -> Adaptation:
        of_lora, of_prefix = lora(a, s), prefix(a, s)
        return Adaptation(*(x + y for x, y in zip(of_lora, of_prefix, strict=True)))._replace(depth=a.n_layer)

    return both


def random_subspace(a: Architecture, s: Settings) -> Adaptation:
    """d. Each adapted matrix has its dW, and a step holds W + P theta and P, one number for each of W."""
    _check_targets(s.targets, a.linear_shapes)
    D = a.n_layer * sum(O * I for O, I in (a.linear_shapes[name] for name in s.targets))
    _check("dimension", s.dimension, 1, D)
    return Adaptation(0, s.dimension, D, 0, a.n_layer, a.n_layer * inputs(a, s.targets), held=2 * D)


def vera(a: Architecture, s: Settings) -> Adaptation:
    """d and b for each adapted matrix; A and B, as wide as the widest, are held once, and multiplied with everywhere.

    A token keeps h = x A^T, r values, and v, O, for each.
    """
    _check_targets(s.targets, a.linear_shapes)
    shapes, r = [a.linear_shapes[name] for name in s.targets], s.vera_rank
    vectors = a.n_layer * sum(r + O for O, _ in shapes)
    multiplied = a.n_layer * sum(r * (O + I) for O, I in shapes)
    held = r * (max(O for O, _ in shapes) + max(I for _, I in shapes))
    return Adaptation(0, vectors, 0, 0, a.n_layer, kept=vectors, held=held, constant_matrices=multiplied)


METHODS = {
    "full": full,
    "top-k": top_k,
    "bitfit": bitfit,
    "prefix-embedding": prefix_embedding,
    "prefix-layer": prefix_layer,
    "adapter-h": adapter_h,
    "adapter-l": adapter_l,
    "adapter-p": adapter_p,
    "adapter-d": adapter_d,
    "lora": lora,
    "dora": dora,
    "lora-fa": lora_fa,
    "lora+prefix-embedding": with_prefix(prefix_embedding),
    "lora+prefix-layer": with_prefix(prefix_layer),
    "random-subspace": random_subspace,
    "vera": vera,
}
