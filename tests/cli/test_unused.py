"""An option that the method, the task or the verb's mode does not use is refused, and told who uses it."""

import re

import pytest

import minilora
from cli.running import check_refused
from minilora.accounting import METHODS as COUNTED
from minilora.cli import count, finetune
from minilora.cli.verbs import parser_of
from minilora.methods import LoRAConfig, LoRAPrefixConfig

LAYERS = "but a matrix does not use it; it needs --weights, --adapter or --tuned$"
GREEDY = "but --temperature was 0, which draws nothing; it must be above 0$"
LIST = "but `minilora count list` does not use it; it needs an architecture$"
REFUSED = {
    "size of LoRA": (
        ["finetune", "--size", "4"],
        "--size was given, but --method lora does not use it; it is for --method adapter-h, adapter-l, adapter-p, "
        "adapter-d$",
    ),
    "rank of BitFit": (
        ["finetune", "--method", "bitfit", "--rank", "64"],
        "--rank was given, but --method bitfit does not use it; it is for --method lora, rslora, dora, pissa, "
        r"lora-fa, lora-ga, lora\+prefix-embedding, lora\+prefix-layer, adalora$",
    ),
    "even the default": (["finetune", "--method", "bitfit", "--rank", "8"], "--rank was given"),
    "a flag": (["finetune", "--method", "full", "--rslora"], "--rslora was given, but --method full"),
    "LoRA+ of full fine-tuning": (["finetune", "--method", "full", "--lr-ratio-b", "4"], "--lr-ratio-b was given"),
    "blocks of LoRA": (["finetune", "--blocks", "2"], "--blocks was given.* it is for --method top-k$"),
    "leave-out of Pfeiffer": (
        ["finetune", "--method", "adapter-p", "--leave-out", "1"],
        "--leave-out was given, .* adapter-d$",
    ),
    "before of LoRA": (
        ["finetune", "--before", "5"],
        r"--before was given, .* prefix-embedding, prefix-layer, lora\+prefix-embedding, lora\+prefix-layer$",
    ),
    "dimension of LoRA": (["finetune", "--dimension", "5"], "--dimension was given, .* random-subspace$"),
    "task and text": (
        ["evaluate", "--task", "mini-e2e", "--text", "a.txt"],
        "--task and --text were given; it must be one of the two$",
    ),
    "rank counted of full": (["count", "gpt2", "--method", "full", "--rank", "3"], "--rank was given, but --method"),
    "size counted of LoRA": (["count", "gpt2", "--size", "3"], "--size was given, but --method lora"),
    "a count in a list": (["count", "list", "--rank", "4"], f"--rank was given, {LIST}"),
    "a length in a list": (["count", "list", "--length", "4"], f"--length was given, {LIST}"),
    "top-k of the likeliest": (["generate", "a", "--top-k", "3"], f"--top-k was given, {GREEDY}"),
    "top-p of the likeliest": (["generate", "a", "--top-p", "0.5"], f"--top-p was given, {GREEDY}"),
    "seed of the likeliest": (["generate", "a", "--seed", "0"], f"--seed was given, {GREEDY}"),
    "methods of generate": (
        ["bench", "generate", "--methods", "lora"],
        "--methods was given, but generate does not use it; it is for train and memory$",
    ),
    "shapes of scaling": (["bench", "scaling", "--shapes", "S1"], "--shapes was given, but scaling does not use it"),
    "rounds of memory": (["bench", "memory", "--rounds", "2"], "--rounds was given, but memory does not use it"),
    "most rounds of memory": (["bench", "memory", "--most-rounds", "9"], "--most-rounds was given, but memory does"),
    "llama.cpp of a step": (
        ["bench", "train", "--against", "torch,llama.cpp"],
        "--against held llama.cpp, but train does not use it; it is for generate$",
    ),
    "peer without against": (["bench", "--peer-python", "python"], "--peer-python was given, but without --against"),
    "layers of a matrix": (["rank", "1,2", "--layers", "q_proj"], f"--layers was given, {LAYERS}"),
    "share of a matrix": (["rank", "1,2", "--share", "50"], f"--share was given, {LAYERS}"),
    "model of a matrix": (["rank", "--model", "decoder"], f"--model was given, {LAYERS}"),
    "a matrix and an adapter": (
        ["rank", "1,2", "--adapter", "a"],
        "a matrix was given, and --adapter; it must be one of the two$",
    ),
    "of without other": (["subspace", "--adapter", "a", "--of", "A"], "--of was given, .* it needs --other$"),
    "seed of two adapters": (
        ["subspace", "--adapter", "a", "--other", "b", "--seed", "1"],
        "--seed was given, .* it needs --plot$",
    ),
    "quick list": (["reproduce", "list", "--quick"], "--quick was given, but `minilora reproduce list` does"),
    "workers of ranks": (["reproduce", "table4", "--executor", "mpi"], "--executor was mpi, which needs two ranks"),
    "notebook of check": (
        ["exercises", "check", "1", "--notebook"],
        "--notebook was given, but check does not use it; it is for start$",
    ),
    "seed of list": (
        ["exercises", "list", "--seed", "1"],
        "--seed was given, but list does not use it; .* check, watch$",
    ),
    "an exercise of list": (["exercises", "list", "1"], "the exercise was 1, but list names all of them"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_an_option_that_is_not_used_is_refused(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    check_refused(arguments, message, tmp_path, capsys)


def parse(*arguments):
    return parser_of("finetune").parse_args(arguments)


@pytest.mark.parametrize("method", minilora.METHODS)
def test_every_method_takes_the_options_that_it_uses(method):
    values = {
        "rank": "3",
        "alpha": "5",
        "targets": "fc_in",
        "dropout": "0.5",
        "dimension": "3",
        "vera_rank": "3",
        "initial_rank": "13",
        "size": "3",
        "leave_out": "2",
        "before": "3",
        "after": "4",
        "blocks": "1",
        "lr_ratio_b": "2",
        "bits": "4",
        "feedforward": "fc_in",
        "tokens": "3,5",
        "prompt_length": "3",
        "start_text": "Summary:",
    }
    for dest, methods in finetune.USED_BY.items():
        option = f"--{dest.replace('_', '-')}"
        words = [option, values[dest]] if dest in values else [option]
        if method not in methods:
            with pytest.raises(
                ValueError, match=f"^{option} was given, but --method {re.escape(method)} does not use it"
            ):
                finetune.method_settings(parse("--method", method, *words))
        else:
            settings = finetune.method_settings(parse("--method", method, *words))
            changed = settings != minilora.METHODS[method]
            assert changed == (
                dest not in ("lr_ratio_b", "bits", "start_text") and not (dest == "rslora" and method == "rslora")
            )


def test_what_was_typed_is_known_whatever_its_value():
    assert parse().typed == frozenset()
    assert parse("--rank", "8", "--seed", "0", "--rslora").typed == {"rank", "seed", "rslora"}
    assert parser_of("rank").parse_args([]).typed == parser_of("bench").parse_args([]).typed == frozenset()
    assert parser_of("rank").parse_args(["1,2"]).typed == {"matrix"}


# ---- one value for every default


@pytest.mark.parametrize("method", minilora.METHODS)
def test_finetune_s_defaults_are_the_methods_own(method):
    assert finetune.method_settings(parse("--method", method)) == minilora.METHODS[method]


def test_finetune_and_count_show_the_defaults_of_python():
    from minilora.training import TrainConfig

    tuned, counted, train = parse(), parser_of("count").parse_args(["gpt2"]), TrainConfig()
    for name in ("steps", "batch_size", "accumulation", "schedule", "threads", "seed"):
        assert getattr(tuned, name) == getattr(train, name)
    assert tuned.lr_ratio_b == train.lr_ratio_B and counted.batch_size == train.batch_size
    assert tuned.alpha == LoRAConfig().alpha and tuned.rank == counted.rank == LoRAConfig().rank
    for name in ("targets", "size", "leave_out", "before", "after", "blocks"):
        assert getattr(tuned, name) == getattr(counted, name)


@pytest.mark.parametrize("method", COUNTED.keys() & minilora.METHODS.keys())
def test_what_is_counted_by_default_is_what_is_trained_by_default(method):
    from minilora.accounting import Settings
    from minilora.accounting.adaptations import DEFAULTS

    settings, trained = Settings(**DEFAULTS.get(method, {})), minilora.METHODS[method]
    parts = (trained.lora, trained.prefix) if isinstance(trained, LoRAPrefixConfig) else (trained,)
    for name in count.USED_BY:
        if method in count.USED_BY[name]:
            (default,) = [getattr(p, finetune.SETTINGS[name]) for p in parts if hasattr(p, finetune.SETTINGS[name])]
            assert getattr(settings, name) == default
