"""The counts of trained parameters that the paper prints in its tables 1 to 5 and 15, next to ours.

Each row has the figure as printed, in millions, and the method and settings by which we count it. The verdict is
computed: "agrees" if our count rounds to the figure; "rounding" if it does so without the figure's trailing zeros (3.0
as 3), or if the figure is our count truncated instead of rounded; else "not reconcilable". The reason is prose, and
`also` holds other counts that bear on it, also computed.
"""

from collections.abc import Iterator, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

from minilora.accounting.adaptations import Adaptation, adaptation
from minilora.accounting.architectures import ARCHITECTURES

VERDICTS = ("agrees", "rounding", "not reconcilable")
CLASSES = 2  # of the classification head, where one is counted


class Published(NamedTuple):
    """One printed count."""

    table: int
    row: str
    figure: str  # millions, as printed
    architecture: str
    method: str
    settings: dict[str, Any]
    reason: str
    also: dict[str, int]
    head: bool  # whether an encoder's classification head is part of the figure

    @property
    def adaptation(self) -> Adaptation:
        """The Adaptation that we count."""
        return adaptation(ARCHITECTURES[self.architecture], self.method, **self.settings)

    @property
    def ours(self) -> int:
        """Our count."""
        head = ARCHITECTURES[self.architecture].classifier_size(CLASSES) if self.head else 0
        return self.adaptation.trainable + head

    @property
    def verdict(self) -> str:
        """One of VERDICTS."""
        return compare(self.figure, self.ours)


def compare(figure: str, count: int) -> str:
    """The verdict on a printed figure, in millions, and a count: one of VERDICTS."""
    printed = Decimal(figure.replace(",", ""))
    millions = Decimal(count) / 1_000_000
    short = printed.normalize()  # 3.0 -> 3, 1500 -> 15E+2
    if millions.quantize(printed, ROUND_HALF_UP) == printed:
        return "agrees"
    cut, rounded, cut_short = (
        millions.quantize(*how) for how in ((printed, ROUND_DOWN), (short, ROUND_HALF_UP), (short, ROUND_DOWN))
    )
    return "rounding" if printed in (cut, rounded, cut_short) else "not reconcilable"


def _count(architecture: str, method: str, **settings: Any) -> int:
    return adaptation(ARCHITECTURES[architecture], method, **settings).trainable


def _row(
    table: int,
    row: str,
    figure: str,
    architecture: str,
    method: str,
    reason: str = "",
    also: dict[str, int] | None = None,
    head: bool = False,
    **settings: Any,
) -> Published:
    return Published(table, row, figure, architecture, method, settings, reason, also or {}, head)


def _latency() -> Iterator[Published]:
    """Table 1: adapters on GPT-2 medium; the paper does not say which bottleneck."""
    reason = "the bottleneck is not stated; this one fits"
    for kind, small, large in (("adapter-l", 8, 224), ("adapter-h", 5, 112)):
        name = f"Adapter^{kind[-1].upper()}"
        yield _row(1, f"{name}, batch 32", "0.5", "gpt2-medium", kind, reason, size=small)
        for batch in (16, 1):
            yield _row(1, f"{name}, batch {batch}", "11", "gpt2-medium", kind, reason, size=large)


def _glue() -> Iterator[Published]:
    """Table 2. A dagger marks runs set up as in Houlsby et al."""
    base, large, xxl = "roberta-base", "roberta-large", "deberta-v2-xxlarge"
    with_head = "with the classification head, and to whole millions, as RoBERTa's paper prints it"
    loose = "r = 64; the figure holds to whole millions only"
    yield _row(2, "RoBERTa base, FT", "125.0", base, "full", with_head, head=True)
    yield _row(2, "RoBERTa base, BitFit", "0.1", base, "bitfit")
    yield _row(2, "RoBERTa base, Adapter^D", "0.3", base, "adapter-d", size=16, leave_out=0)
    yield _row(2, "RoBERTa base, Adapter^D", "0.9", base, "adapter-d", size=48, leave_out=0)
    yield _row(2, "RoBERTa base, LoRA", "0.3", base, "lora", rank=8)
    yield _row(2, "RoBERTa large, FT", "355.0", large, "full", with_head, head=True)
    yield _row(2, "RoBERTa large, LoRA", "0.8", large, "lora", rank=8)
    yield _row(2, "RoBERTa large, Adapter^P, dagger", "3.0", large, "adapter-p", loose, size=64)
    yield _row(2, "RoBERTa large, Adapter^P, dagger", "0.8", large, "adapter-p", size=16)
    yield _row(2, "RoBERTa large, Adapter^H, dagger", "6.0", large, "adapter-h", loose, size=64)
    yield _row(2, "RoBERTa large, Adapter^H, dagger", "0.8", large, "adapter-h", size=8)
    yield _row(2, "RoBERTa large, LoRA, dagger", "0.8", large, "lora", rank=8)
    billion = "1.5 billion, cut off, is how the model's authors name its size"
    yield _row(2, "DeBERTa XXL, FT", "1500.0", xxl, "full", billion, head=True)
    rank = "with r = 16, as the released scripts and checkpoint have it; the paper's table 10 says r = 8"
    yield _row(2, "DeBERTa XXL, LoRA", "4.7", xxl, "lora", rank, {"r = 8": _count(xxl, "lora", rank=8)}, rank=16)


def _e2e() -> Iterator[Published]:
    """Table 3."""
    medium, large = "gpt2-medium", "gpt2-large"
    everything = _count(medium, "full"), _count(large, "full")
    thousandth = [{"0.1 % of all parameters": round(count / 1000)} for count in everything]
    label = "0.1 % of all parameters, the label of the prefix-tuning row"
    no_length = f"{label}; by the formula L d (l_p + l_i) no length gives it, and this one comes closest"
    rank_4 = f"{label}; no rank gives it, and ours is that of appendix D.3, r = 4 on W_q and W_v"
    misprint = "more than the checkpoint's tensors have; perhaps a misprint"
    adapter_h = "Adapter^L's figure; no bottleneck of Adapter^H gives it, and this one comes closest"
    norms = {"with a LayerNorm for each": _count(medium, "adapter-h", size=112) + 48 * 2 * 1024}
    yield _row(3, "GPT-2 M, FT", "354.92", medium, "full", misprint)
    yield _row(3, "GPT-2 M, Adapter^L", "0.37", medium, "adapter-l", size=6)
    yield _row(3, "GPT-2 M, Adapter^L", "11.09", medium, "adapter-l", size=224)
    yield _row(3, "GPT-2 M, Adapter^H", "11.09", medium, "adapter-h", adapter_h, norms, size=112)
    yield _row(3, "GPT-2 M, FT^Top2", "25.19", medium, "top-k", blocks=2)
    yield _row(3, "GPT-2 M, PreLayer", "0.35", medium, "prefix-layer", no_length, thousandth[0], before=14, after=0)
    yield _row(3, "GPT-2 M, LoRA", "0.35", medium, "lora", rank_4, thousandth[0], rank=4)
    yield _row(3, "GPT-2 L, FT", "774.03", large, "full")
    yield _row(3, "GPT-2 L, Adapter^L", "0.88", large, "adapter-l", size=8)
    yield _row(3, "GPT-2 L, Adapter^L", "23.00", large, "adapter-l", size=248)
    yield _row(3, "GPT-2 L, PreLayer", "0.77", large, "prefix-layer", no_length, thousandth[1], before=17, after=0)
    yield _row(3, "GPT-2 L, LoRA", "0.77", large, "lora", rank_4, thousandth[1], rank=4)


def _gpt3(
    table: int,
    name: str,
    figure: str,
    method: str,
    reason: str = "",
    also: dict[str, int] | None = None,
    **settings: Any,
) -> Published:
    return _row(table, f"GPT-3, {name}", figure, "gpt3-175b", method, reason, also, **settings)


PRE_LAYER = "the paper's own formula L d (l_p + l_i), with the lengths of its table 15, gives ours"
CUT = "cut off instead of rounded"
TWO, FOUR = ("q_proj", "v_proj"), ("q_proj", "k_proj", "v_proj", "o_proj")


def _lora_name(targets: Sequence[str], rank: int) -> str:
    return f"LoRA on {', '.join('W_' + name[0] for name in targets)}, r = {rank}"


def _gpt3_main() -> Iterator[Published]:
    """Table 4."""
    a = ARCHITECTURES["gpt3-175b"]
    untied = {"with a head that is not tied": a.n_parameters + a.vocab_size * a.d_model}
    twelve = {"12 d a block": 12 * a.n_layer * a.d_model}
    biases = "linear maps and LayerNorms have 11 d biases a block, and the last LayerNorm d; only 12 d a block fits"
    yield _gpt3(4, "FT", "175,255.8", "full", "not the sum of the published shapes, with tied head or without", untied)
    yield _gpt3(4, "BitFit", "14.2", "bitfit", biases, twelve)
    yield _gpt3(4, "PreEmbed", "3.2", "prefix-embedding", before=256, after=8)
    yield _gpt3(4, "PreLayer", "20.2", "prefix-layer", PRE_LAYER, before=8, after=8)
    yield _gpt3(4, "Adapter^H, r = 1", "7.1", "adapter-h", size=1)
    yield _gpt3(4, "Adapter^H, r = 8", "40.1", "adapter-h", size=8)
    yield _gpt3(4, "LoRA", "4.7", "lora", rank=1)
    yield _gpt3(4, "LoRA", "37.7", "lora", rank=8)


def _gpt3_matrices() -> Iterator[Published]:
    """Table 5: the same budget on different matrices."""
    for targets, rank in (*(((name,), 8) for name in FOUR), (FOUR[:2], 4), (TWO, 4), (FOUR, 2)):
        yield _gpt3(5, _lora_name(targets, rank), "18", "lora", CUT, rank=rank, targets=targets)


def _gpt3_sweeps() -> Iterator[Published]:
    """Table 15."""
    for before, figure in ((32, ".4"), (64, ".9"), (128, "1.7"), (256, "3.2"), (512, "6.4")):
        reason = CUT if figure == ".4" else ""
        name = f"PreEmbed, l_p = {before}, l_i = 8"
        yield _gpt3(15, name, figure, "prefix-embedding", reason, before=before, after=8)
    for before, after, figure in ((2, 2, "5.1"), (8, 0, "10.1"), (8, 8, "20.2"), (32, 4, "44.1"), (64, 0, "76.1")):
        name = f"PreLayer, l_p = {before}, l_i = {after}"
        yield _gpt3(15, name, figure, "prefix-layer", PRE_LAYER, before=before, after=after)
    for r, figure in ((1, "7.1"), (4, "21.2"), (8, "40.1"), (16, "77.9"), (64, "304.4")):
        yield _gpt3(15, f"Adapter^H, r = {r}", figure, "adapter-h", size=r)
    for targets, rank, figure in (
        *((("v_proj",), 2, "4.7"), (TWO, 1, "4.7"), (TWO, 2, "9.4"), (FOUR, 1, "9.4"), (TWO, 4, "18.8")),
        *((FOUR, 2, "18.8"), (TWO, 8, "37.7"), (FOUR, 4, "37.7"), (TWO, 64, "301.9"), (FOUR, 64, "603.8")),
    ):
        reason = {"603.8": "twice the row above, which was cut off", "18.8": CUT, "301.9": CUT}.get(figure, "")
        yield _gpt3(15, _lora_name(targets, rank), figure, "lora", reason, rank=rank, targets=targets)
    lengths: dict[str, Any] = {"before": 8, "after": 4}
    for rank, figure in ((8, "37.8"), (32, "151.1"), (64, "302.1")):
        name, reason = f"LoRA+PE, r = {rank}, l_p = 8, l_i = 4", CUT if rank == 8 else ""
        yield _gpt3(15, name, figure, "lora+prefix-embedding", reason, rank=rank, **lengths)
    yield _gpt3(15, "LoRA+PL, r = 8, l_p = 8, l_i = 4", "52.8", "lora+prefix-layer", PRE_LAYER, rank=8, **lengths)


TABLES = (_latency, _glue, _e2e, _gpt3_main, _gpt3_matrices, _gpt3_sweeps)
PUBLISHED = tuple(row for table in TABLES for row in table())
