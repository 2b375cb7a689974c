"""The methods' settings as options of `finetune` and `count`; their defaults come from the configurations."""

import argparse
from collections.abc import Iterable

from minilora.cli.options import integer
from minilora.cli.parser import Parser
from minilora.cli.printing import typed
from minilora.methods import (
    METHODS,
    AdaLoRAConfig,
    HoulsbyConfig,
    LoRAConfig,
    PrefixConfig,
    PromptTuningConfig,
    RandomSubspaceConfig,
    TopKConfig,
    VeRAConfig,
)

HOULSBY = ("adapter-h", "adapter-l", "adapter-p", "adapter-d")
PREFIXES = ("prefix-embedding", "prefix-layer")
LORA_WITH_PREFIX = ("lora+prefix-embedding", "lora+prefix-layer")
ALL_PREFIXES = (*PREFIXES, *LORA_WITH_PREFIX)
RANDOM_SUBSPACE, VERA, ADALORA = "random-subspace", "vera", "adalora"
IA3, TRAINABLE_TOKENS, PROMPT_TUNING = "ia3", "trainable-tokens", "prompt-tuning"


def ids(text: str) -> tuple[int, ...]:
    """The ids in a list with commas, for --tokens."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"was {typed(text)}; it must be ids, such as 3,17") from None


def add_rank_and_targets(p: Parser, methods: Iterable[str]) -> None:
    """Give a parser the options that say which matrices are adapted, and how; `methods` are LoRA's."""
    with_targets = ", ".join((*methods, RANDOM_SUBSPACE, VERA, ADALORA, IA3))
    p.add_argument(
        "--rank",
        type=integer(1, 65_536),
        metavar="N",
        default=LoRAConfig.rank,
        help=f"r, the rank of delta W ({', '.join(methods)}; {ADALORA}: the average over the targets, after pruning)",
    )
    p.add_argument(
        "--targets",
        default=",".join(LoRAConfig.targets),
        help="layers to adapt, comma-separated: any of q_proj, k_proj, v_proj, o_proj, fc_in, fc_out (of a Llama "
        "gate_proj, up_proj, down_proj), or whole paths; with LoRA also wte, the token embedding, and an untied "
        f"lm_head; for finetune also all-linear ({with_targets}; "
        f"for {IA3} the default is k_proj,v_proj)",
    )
    p.add_argument(
        "--tokens",
        type=ids,
        metavar="IDS",
        default="0",
        help=f"ids of the tokens whose embeddings are trained, comma-separated ({TRAINABLE_TOKENS})",
    )
    p.add_argument(
        "--feedforward",
        metavar="NAMES",
        help=f"layers whose inputs are scaled (default: the last map of each MLP, fc_out or down_proj) ({IA3})",
    )
    p.add_argument(
        "--dimension",
        type=integer(1, 10**9),
        metavar="N",
        default=RandomSubspaceConfig.dimension,
        help=f"d, the dimension of the subspace, and how many numbers are trained ({RANDOM_SUBSPACE})",
    )
    p.add_argument(
        "--vera-rank",
        type=integer(1, 65_536),
        metavar="N",
        default=VeRAConfig.rank,
        help=f"r, the rank of the A and B that all targets share ({VERA})",
    )
    p.add_argument(
        "--initial-rank",
        type=integer(1, 65_536),
        metavar="N",
        default=AdaLoRAConfig.initial_rank,
        help=f"the rank before pruning ({ADALORA})",
    )


def add_settings_of_baselines(p: Parser) -> None:
    """Give a parser the options of the methods that LoRA is compared with, or combined with."""

    def add(name: str, low: int, default: int, what: str) -> None:
        p.add_argument(name, type=integer(low, 65_536), metavar="N", default=default, help=what)

    houlsby, prefix = ", ".join(HOULSBY), ", ".join(ALL_PREFIXES)
    add("--size", 1, HoulsbyConfig.size, f"r, the width of a Houlsby adapter ({houlsby})")
    add("--leave-out", 0, METHODS["adapter-d"].leave_out, "first blocks without an adapter (adapter-d)")
    add("--before", 0, PrefixConfig.before, f"tokens before the prompt ({prefix})")
    add("--after", 0, PrefixConfig.after, f"tokens after the prompt ({prefix})")
    add("--prompt-length", 1, PromptTuningConfig.length, f"trained embeddings before the input ({PROMPT_TUNING})")
    add("--blocks", 1, TopKConfig.k, "how many of the last blocks are trained (top-k)")
