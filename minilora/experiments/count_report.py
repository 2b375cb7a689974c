"""What `minilora count` prints: the formulas of minilora/analysis, with the paper's own figures beside them."""

from minilora.accounting import (
    ARCHITECTURES,
    METHODS,
    PUBLISHED,
    Settings,
    checkpoint_bytes,
    flops_per_token,
    memory_estimate,
    message_bytes,
)
from minilora.accounting import adaptation as adapt

USED = {  # the settings that a method has
    "top-k": ("blocks",),
    "prefix-embedding": ("before", "after"),
    "prefix-layer": ("before", "after"),
    **dict.fromkeys(("adapter-h", "adapter-l", "adapter-p"), ("size",)),
    "adapter-d": ("size", "leave_out"),
    **dict.fromkeys(("lora", "dora"), ("rank", "targets")),
    **dict.fromkeys(("lora+prefix-embedding", "lora+prefix-layer"), ("rank", "targets", "before", "after")),
}


def list_report():
    """All architectures, with their sizes, and all methods."""
    lines = [f"{'architecture':<20}{'L':>4}{'C':>7}{'H':>4}{'F':>7}{'V':>8}{'parameters':>18}"]
    for name, a in ARCHITECTURES.items():
        sizes = f"{a.n_layer:>4}{a.d_model:>7}{a.n_head:>4}{a.d_mlp:>7}{a.vocab_size:>8}{a.n_parameters:>18,}"
        lines.append(f"{name:<20}{sizes}")
    return "\n".join([*lines, f"methods: {', '.join(METHODS)}"])


def published_report(rows=PUBLISHED):
    """Printed counts beside ours, with the verdict and, where it is needed, the reason."""
    lines = [f"{'table':<7}{'':<42}{'paper':>11}{'ours':>17}  verdict"]
    for row in rows:
        reason = f": {row.reason}" if row.reason else ""
        also = "".join(f"; {label}: {count:,}" for label, count in row.also.items())
        lines.append(f"{row.table:<7}{row.row:<42}{row.figure + 'M':>11}{row.ours:>17,}  {row.verdict}{reason}{also}")
    return "\n".join(lines)


def architecture_report(name, architecture, method, settings, *, batch_size, length, optimizer):
    """Parameters, bytes and operations of one method on one architecture, and what the paper prints for it.

    Parameters
    ----------
    name : str
        Of the architecture; the paper's figures are looked up under it.
    architecture : Architecture
    method : str
    settings : dict
        The settings of all methods; the method's own are used.
    batch_size, length : int
        N and T of a training step. T may be up to the architecture's longest sequence.
    optimizer : str
    """
    a = architecture
    if length > a.longest:
        raise ValueError(f"length was {length}; {name} takes at most {a.longest}")
    settings = {key: settings[key] for key in USED.get(method, ())}
    adaptation, full = adapt(a, method, **settings), adapt(a, "full")
    described = [f"{key} {value if isinstance(value, int) else ','.join(value)}" for key, value in settings.items()]
    memory = memory_estimate(a, adaptation, batch_size=batch_size, length=length, optimizer=optimizer)
    flops, flops_full = flops_per_token(a, adaptation, length), flops_per_token(a, full, length)
    percent = 100 * adaptation.trainable / a.n_parameters
    shape = f"L {a.n_layer}, C {a.d_model}, H {a.n_head}, F {a.d_mlp}, V {a.vocab_size}"
    single, half = (checkpoint_bytes(adaptation, each) / 1e6 for each in (4, 2))
    sent, sent_full = (message_bytes(each.trainable) / 1e6 for each in (adaptation, full))
    lines = [
        f"{name}: {a.n_parameters:,} parameters ({shape})",
        f"{', '.join([method, *described])}: {adaptation.trainable:,} trained, {percent:.4g} %",
        f"checkpoint: {single:,.2f} MB in float32, {half:,.2f} MB in float16",
        f"summed over n ranks in a step: {sent:,.2f} MB (full: {sent_full:,.2f}); each sends 2 (n - 1) / n of it",
        f"memory of a step of {batch_size} x {length} tokens with {optimizer}, in float32, MB:",
        *(f"  {part:<12}{value / 1e6:>16,.2f}" for part, value in memory._asdict().items()),
        f"  {'total':<12}{memory.total / 1e6:>16,.2f}",
        "operations a token, millions:",
        *(f"  {part:<12}{value / 1e6:>16,.2f}" for part, value in flops._asdict().items()),
        f"  {'training':<12}{flops.training / 1e6:>16,.2f}   {flops.training / flops_full.training:.3f} of full's",
    ]
    rows = [
        row
        for row in PUBLISHED
        if (ARCHITECTURES[row.architecture], row.method, Settings(**row.settings)) == (a, method, Settings(**settings))
    ]
    return "\n".join([*lines, published_report(rows) if rows else "the paper prints no count for this"])
