"""Results of experiments that nobody ran, for tables, figures and claims."""

from minilora.experiments.claims import lines_of, verdict
from minilora.experiments.comparison import mean_and_spread
from minilora.experiments.verdicts import FAILS, HOLDS, UNDECIDED

MARKS = {HOLDS: "+", FAILS: "-", UNDECIDED: "?"}


def verdicts(module, results):
    """A mark for each claim of an experiment, in order; its table, picture and claims are made as well."""
    module.table(results)
    module.plot(results)
    for claim in module.CLAIMS:
        assert len(lines_of(claim, results)) > 2
    return "".join(MARKS[verdict(claim, results)] for claim in module.CLAIMS)


def spread(mean, std=0.01):
    """Three seeds with this mean and standard deviation."""
    return mean_and_spread([mean - std, mean, mean + std])


def row(*, bleu, trainable=1000, valid=1.0, lr=0.01, slot_exact=0.5):
    """A row of table 3 or 18."""
    return {
        "trainable": trainable,
        "lr": lr,
        "valid_by_lr": [[0.003, 1.2], [0.01, 1.0], [0.03, None]],
        "seconds": 1.0,
        "valid": spread(valid),
        "test": spread(valid),
        "slot_exact": spread(slot_exact),
        "slot_error_rate": spread(0.25),
        "bleu": spread(bleu, 1.0),
        "nist": spread(5.0),
        "meteor": spread(0.4),
        "chrf": spread(60.0),
        "samples": [],
    }


def path(codes, proses):
    """What `adapt_to_code` measured: the bits per byte of code and prose at the start and at each step after it."""
    return [
        {"step": step, "code_valid": code, "code": code + 0.5, "prose": prose}
        for step, (code, prose) in enumerate(zip(codes, proses, strict=True))
    ]
