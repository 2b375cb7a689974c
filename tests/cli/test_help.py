"""Help, versions, words that are not understood, and what fits 80 columns."""

import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import minilora
from cli.running import prints, read
from minilora.cli import main
from minilora.cli.demo import report
from minilora.cli.printing import narrowed, table
from minilora.cli.verbs import VERBS, in_words_of, parse, parser_of
from minilora.experiments.experiment import report as report_of
from minilora.experiments.paper import EXPERIMENTS
from minilora.experiments.text_table import aligned

FIGURES = Path(__file__).resolve().parents[2] / "figures"


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example_that_works(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    program, *arguments = shlex.split(re.search(r"example: (.*)", text)[1])
    assert program == "minilora" and parse(arguments).verb == verb


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"minilora {minilora.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["waltz"], "minilora: there is no verb waltz; there are demo, .*merge"),
        (["finetune", "--rank", "many"], "--rank was many; it must be an integer"),
        (["finetune", "--device", "tpu"], "--device was tpu; it must be one of auto, cpu, gpu"),
        (["finetune", "--method", "magic"], "--method was magic; .*lora.*full"),
        (["evaluate", "--split", "train"], "--split was train; .*valid.*test"),
        (["pretrain", "--kind", "both"], "--kind was both; .*decoder.*encoder"),
        (["pretrain", "--corpus", "poems"], "--corpus was poems; .*prose.*code"),
        (["merge", "--adapter", "adapter.safetensors"], "--out"),
        (["generate"], "prompt"),
    ],
)
def test_what_cannot_be_parsed_names_the_option_and_its_choices(arguments, message, capsys):
    assert main(arguments) == 2 and re.search(message, capsys.readouterr().err.splitlines()[-1])


def test_output_that_nobody_reads_any_more_is_no_error():
    command = [sys.executable, "-m", "minilora", "count", "published"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # as head does, when it has its lines
        assert process.stderr.read() == b"" and process.wait() == 141


# ---- the overview, and words that are nearly right


@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"], ["-h"]])
def test_the_verbs_are_listed_with_a_line_each(arguments, capsys):
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in lines if re.match(r"  \S+ {2,}", line))
    assert listed == VERBS and max(map(len, lines)) <= 80


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_in_two_ways(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["help", verb]) == 0
    text = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert capsys.readouterr().out == text
    assert "None" not in text and "False" not in text and "SUPPRESS" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_only_the_options_that_a_verb_uses_are_shown():
    seed = {verb for verb in VERBS if "--seed" in parser_of(verb).flags}
    device = {verb for verb in VERBS if "--device" in parser_of(verb).flags}
    drawing = {"demo", "pretrain", "finetune", "generate", "chat", "subspace", "report", "bench"}
    assert seed == drawing | {"exercises", "course"}
    assert device == {"demo", "pretrain", "finetune", "evaluate", "generate", "chat", "bench"}
    json_out = {verb for verb in VERBS if "--json" in parser_of(verb).flags}
    assert json_out == set(VERBS) - {"chat", "exercises"}, "a chat has no result, and the exercises are for people"
    assert {verb for verb in VERBS if "--quiet" in parser_of(verb).flags} == json_out


def test_a_default_of_0_is_shown(capsys):
    assert main(["help", "finetune"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    methods = "lora, rslora, dora, pissa, lora-fa, lora-ga, lora+prefix-embedding, lora+prefix-layer, vera, adalora"
    dropped = f"is dropped ({methods}) (default: 0.0)"
    assert dropped.replace(" ", "") in text.replace(" ", "")  # a name may be broken at its hyphen
    assert "random seed (default: 0)" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finetun"], "minilora: there is no verb finetun; did you mean finetune?"),
        (["help", "generat"], "minilora: there is no verb generat; did you mean generate?"),
        (["finetune", "--ranc", "4"], "minilora finetune: unrecognized arguments: --ranc 4; did you mean --rank?"),
        (["finetune", "--rnak=4"], "minilora finetune: unrecognized arguments: --rnak=4; did you mean --rank?"),
        (["generate", "a", "--temp", "1"], "minilora generate: unrecognized arguments: --temp 1"),
        (["\x1b]0;title\x07"], r"minilora: there is no verb '\x1b]0;title\x07'; there are demo, "),
        (["finetune", "--\x1b[2J"], r"minilora finetune: unrecognized arguments: --\x1b[2J"),
    ],
)
def test_a_word_that_is_nearly_right(arguments, message, capsys):
    assert main(arguments) == 2
    *usage, line = capsys.readouterr().err.splitlines()
    assert line.startswith(message)
    verb = arguments[0] if arguments[0] in VERBS and arguments[0] != "help" else "VERB"
    assert usage[0].startswith(f"usage: minilora {verb} ")


def test_a_choice_that_is_nearly_right(capsys):
    assert main(["finetune", "--method", "bitfitt"]) == 2
    assert capsys.readouterr().err.endswith("; did you mean bitfit?\n")


# ---- 80 columns


def test_what_is_printed_fits_80_columns(monkeypatch, lora_folder):
    monkeypatch.chdir(lora_folder)
    monkeypatch.setenv("COLUMNS", "80")
    model = ("--model", "model.safetensors")
    for command in (
        ["count", "list"],
        ["count", "published"],
        ["count", "deberta-v2-xxlarge", "--method", "lora+prefix-embedding"],
        ["count", "gpt3-175b", "--rank", "4", "--batch-size", "1000000", "--length", "2048"],
        ["reproduce", "list"],
        ["exercises", "list"],
        ["rank"],
        ["rank", "--weights", "--adapter", "one.safetensors", *model],
        ["subspace", "--adapter", "one.safetensors", *model],
        ["subspace", "--adapter", "one.safetensors", "--other", "two.safetensors", *model],
        ["report", "one.safetensors", "--other", "two.safetensors", *model, "--out", "report.html"],
    ):
        printed = prints(*command)
        assert max(map(len, printed.splitlines())) <= 80, command


def test_the_demonstration_fits_80_columns():
    results = read(Path(__file__).resolve().parents[2] / "figures" / "demo" / "demo.json")
    assert max(map(len, report(results, "figures/latest").splitlines())) <= 80


def test_a_table_that_is_too_wide_has_its_names_on_lines_of_their_own():
    path = "encoder.blocks.23.attn.q_proj.of.a.long.name"
    cells = [f"number {i}" for i in range(6)]
    lines = table([("layer", *cells), (path, *map(str, range(6)))])
    assert max(map(len, lines)) <= 80 and lines[0] == "layer" and lines[-2] == path
    assert lines[1].split() == "number 0 number 1 number 2 number 3 number 4 number 5".split()
    assert lines[-1].split() == list("012345")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_paper_s_tables_fit_80_columns_and_lose_no_cell(name):
    results = FIGURES / f"{name}.json"
    if not results.is_file():
        pytest.skip("no result of it is committed")
    lines = report_of(EXPERIMENTS[name], read(results)).splitlines()
    narrow = narrowed(lines)
    assert max(map(len, narrow)) <= 80, max(narrow, key=len)
    assert Counter(" ".join(lines).replace("-", " ").split()) <= Counter(" ".join(narrow).replace("-", " ").split())


def test_a_table_is_cut_between_columns():
    rows = [
        ("rank", *(f"column {i}" for i in range(9))),
        ("1", *(f"{i} ± {i}" for i in range(9))),
        ("12", *"abcdefghi"),
    ]
    made = narrowed(["before", *aligned(rows), "", "word " * 30])
    assert made[0] == "before" and max(map(len, made)) <= 80 and set(made[-1].split()) == {"word"}
    heads = [line for line in made if line.startswith("rank")]
    assert len(heads) == 2 and re.findall(r"column \d", " ".join(heads)) == [f"column {i}" for i in range(9)]
    assert [line.split()[0] for line in made if line.endswith(("h", "i"))][-1] == "12"
    short = aligned([("a", "b"), ("1", "2")])
    assert narrowed(short) == short


# ---- errors at the door


def test_an_error_is_one_printable_line_and_cut(monkeypatch, capsys):
    def fails(options):
        raise ValueError("\x1b]0;title\x07" + "long " * 10_000 + "\nsecond line")

    monkeypatch.setattr("minilora.cli.rank.run", fails)
    assert main(["rank"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(r"minilora rank: \x1b]0;title\x07long long ") and said.endswith("second line\n")
    assert said.count("\n") == 1 and len(said) < 1100 and said[:-1].isprintable()


def test_an_argument_of_python_is_named_as_the_option_that_was_typed():
    for verb, said, expected in (
        ("finetune", "k was 2; it must be 1", "--blocks was 2; it must be 1"),
        ("finetune", "lr_ratio_B was 2", "--lr-ratio-b was 2"),
        ("pretrain", "n_head was 5; it must divide", "--heads was 5; it must divide"),
        ("subspace", "r was 3; it must be", "--directions was 3; it must be"),
        ("finetune", "arr was 3", "arr was 3"),
        ("waltz", "k was 2", "k was 2"),
    ):
        assert in_words_of([verb], said) == expected
