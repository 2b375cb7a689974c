"""How many parameters each method of the paper trains: its section 5.1, for any Architecture, without a model.

With d = C, and r the rank of LoRA or the bottleneck of an adapter, the trained parameters |Theta| are

    full               every parameter
    top-k              the last k blocks
    bitfit             every bias, of linear maps and LayerNorms
    prefix-embedding   d (l_p + l_i)                         l_p new tokens before the prompt, and l_i after it
    prefix-layer       L d (l_p + l_i)                       the same number of activations for every block
    prompt-tuning      d n                               n of them, all before the prompt (Lester et al., 2021)
    adapter-*          L_adapter (2 d r + r + d) + 2 L_LN d  a bottleneck d -> r -> d with its two biases
        -h             two a block, L_LN = 0                 (Houlsby et al., 2019)
        -l             one per block, with a LayerNorm each    (Lin et al., 2020)
        -p             one per block, L_LN = 0                 (Pfeiffer et al., 2021)
        -d             -p without those of the first blocks  (AdapterDrop, Rücklé et al., 2021)
    lora               the sum of r (O + I) over the adapted matrices, 2 d r for a square one
    lora-fa            the sum of r O: A is frozen, and r I numbers of it are held        (Zhang et al., 2023)
    lora-ga            lora; it holds W_res, A0 and B0 besides                            (Wang et al., 2024)
    dora               lora, and a magnitude for each row, O (Liu et al., 2024)
    lora+prefix-*      both at once: the sum of the two      (the paper's LoRA+PE and LoRA+PL, appendix E)
    vera               the sum of r + O: two vectors for each adapted matrix              (Kopiczko et al., 2023)
    adalora            the sum of r (O + I + 1), with r the initial rank                  (Zhang et al., 2023)
    random-subspace    d, however large the adapted matrices are              (Li et al., 2018)
    trainable-tokens   d for each of the tokens
    ia3                the sum of O over the targets, and of F over the MLPs  (Liu et al., 2022)

An adaptation also says what training costs: how far down the backward goes, which matrices get a gradient, and what
else each token leaves in memory; `accounting/costs.py` uses that.
"""

from collections.abc import Callable
from typing import Any

from minilora.accounting.architectures import Architecture, size
from minilora.accounting.beside_matrices import adalora, dora, inputs, lora, lora_fa, lora_ga, vera
from minilora.accounting.settings import Adaptation, Settings, check, check_targets


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
    return METHODS[method](architecture, Settings(**DEFAULTS.get(method, {}) | settings))


def full(a: Architecture, s: Settings) -> Adaptation:
    """Every parameter."""
    head = a.vocab_size * a.d_model if a.causal else 0  # tied or not, it multiplies activations
    conv = a.conv_width * a.d_model**2
    matrices, kept = (a.n_layer * each for each in (a.block_matrices, inputs(a, a.linear_shapes)))
    return Adaptation(a.n_parameters, 0, matrices + head + conv, 0, a.n_layer, kept)


def top_k(a: Architecture, s: Settings) -> Adaptation:
    """The last k blocks, without the LayerNorm that follows: that is the paper's 25.19M."""
    check("blocks", s.blocks, 1, a.n_layer)
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


def prompt_tuning(a: Architecture, s: Settings) -> Adaptation:
    """A prefix of embeddings, all of them before the prompt: |Theta| = d n."""
    return Adaptation(0, s.prompt_length * a.d_model, 0, 0, a.n_layer, prefix=s.prompt_length)


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
    check("leave_out", s.leave_out, 0, a.n_layer - 1)
    return _adapters(a, s, a.n_layer - s.leave_out, a.n_layer - s.leave_out)


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
    check_targets(s.targets, a.linear_shapes)
    D = a.n_layer * sum(O * I for O, I in (a.linear_shapes[name] for name in s.targets))
    check("dimension", s.dimension, 1, D)
    return Adaptation(0, s.dimension, D, 0, a.n_layer, a.n_layer * inputs(a, s.targets), held=2 * D)


def ia3(a: Architecture, s: Settings) -> Adaptation:
    """A number for each output of the targets, and for each input of the MLPs' last maps; a token keeps these values.

    A Llama makes the inputs again, as it does for LoRA's A.
    """
    feedforward = s.feedforward if s.feedforward is not None else ("down_proj" if a.gated else "fc_out",)
    check_targets((*s.targets, *feedforward), a.linear_shapes)
    of_outputs = sum(a.linear_shapes[name][0] for name in s.targets if name not in feedforward)
    of_inputs = sum(a.linear_shapes[name][1] for name in dict.fromkeys(feedforward))
    added = a.n_layer * (of_outputs + of_inputs)
    return Adaptation(0, added, 0, 0, a.n_layer, a.n_layer * (of_outputs + inputs(a, feedforward)))


def trainable_tokens(a: Architecture, s: Settings) -> Adaptation:
    """C for each token: a row of the embedding, and of the head if that is tied, which then reads x for it."""
    if not s.tokens or not all(isinstance(i, int) and 0 <= i < a.vocab_size for i in s.tokens):
        raise ValueError(f"tokens was {s.tokens!r:.80}; each must be an id from 0 to {a.vocab_size - 1}")
    return Adaptation(0, len(set(s.tokens)) * a.d_model, 0, 0, a.n_layer)


DEFAULTS: dict[str, dict[str, Any]] = {"ia3": {"targets": ("k_proj", "v_proj")}}  # where other than those of Settings
METHODS = {
    "full": full,
    "top-k": top_k,
    "bitfit": bitfit,
    "prefix-embedding": prefix_embedding,
    "prefix-layer": prefix_layer,
    "prompt-tuning": prompt_tuning,
    "adapter-h": adapter_h,
    "adapter-l": adapter_l,
    "adapter-p": adapter_p,
    "adapter-d": adapter_d,
    "lora": lora,
    "dora": dora,
    "lora-fa": lora_fa,
    "lora-ga": lora_ga,
    "lora+prefix-embedding": with_prefix(prefix_embedding),
    "lora+prefix-layer": with_prefix(prefix_layer),
    "random-subspace": random_subspace,
    "ia3": ia3,
    "trainable-tokens": trainable_tokens,
    "vera": vera,
    "adalora": adalora,
}
