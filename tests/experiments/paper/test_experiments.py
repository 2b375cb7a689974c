"""What all experiments of the paper have in common: a quick run, a table, a figure, claims, and their page."""

import json
from dataclasses import asdict

import pytest

from minilora.cli import main
from minilora.experiments.claims import OWN, PAPER, WHOSE, Claim, Fact, own, paper
from minilora.experiments.experiment import about, claim_lines, reproduce
from minilora.experiments.figures_page import read_record, write_page
from minilora.experiments.paper import EXPERIMENTS, find_experiment
from minilora.experiments.sweep import Sweep
from minilora.experiments.verdicts import Question


@pytest.fixture
def folder(tmp_path):
    reproduce(find_experiment("table4"), tmp_path, Sweep(tmp_path, progress=False), command="the command")
    return tmp_path


def test_a_record_says_how_it_was_made(folder):
    record = json.loads((folder / "table4.json").read_text())
    assert record["command"] == "the command" and record["config"] == {
        "batch_size": 1,
        "length": 2048,
        "optimizer": "adamw",
    }
    assert {"minilora", "python", "numpy", "processor", "date", "seconds"} <= record.keys() and not record["quick"]
    assert record["runs"] == {"count": 0, "hours": 0.0}, "it is counted, not trained"
    assert (folder / "table4.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_has_the_table_the_picture_the_claims_and_what_is_written_by_hand(folder):
    (folder / "others.md").write_text("## The others\n\n| a | b |\n")
    write_page(folder)
    page = (folder / "README.md").read_text()
    for part in ("## table4: GPT-3 175B", "](table4.png)", "37,748,736", "**holds**", "`the command`", "## The others"):
        assert part in page


def test_a_claim_that_does_not_hold_says_why(folder):
    claims = (
        Claim("a.b", "It is so", paper("table 4", "so"), "so", lambda results: Fact(False, "it is not"), "A reason."),
        Claim("a.c", "And so", own(), "so", lambda results: Fact(True, "1 of 1"), "No.", "A note."),
        Claim("a.d", "And so", own(), "so", lambda results: None, "No."),
    )
    experiment = find_experiment("table4")._replace(claims=claims)
    record = json.loads((folder / "table4.json").read_text())
    assert claim_lines(experiment, record).splitlines() == [
        "- **does not hold**: It is so (`a.b`)",
        '  The paper, table 4: "so". Exact: so. A reason.',
        "  - it is not",
        "- **holds**: And so (`a.c`)",
        "  Our own. Exact: so. A note.",
        "  - 1 of 1",
        "- **undecided**: And so (`a.d`)",
        "  Our own. Exact: so.",
        "  - not run on this base yet",
    ]


def test_each_claim_has_a_name_of_its_own_and_a_source():
    claims = [claim for experiment in EXPERIMENTS.values() for claim in experiment.claims]
    assert len({claim.id for claim in claims}) == len(claims) > 40
    for name, experiment in EXPERIMENTS.items():
        for claim in experiment.claims:
            assert claim.id.startswith(f"{name}.") and claim.source.whose in WHOSE
            assert bool(claim.source.quote) == (claim.source.whose != OWN), "a sentence of a paper, or none"
            if isinstance(claim.asks, Question) and claim.asks.kind != "better":
                assert claim.asks.margin > 0 and claim.asks.why


def test_the_page_counts_the_verdicts_and_what_was_not_run(folder):
    write_page(folder)
    page = (folder / "README.md").read_text()
    n = sum(claim.source.whose == PAPER for experiment in EXPERIMENTS.values() for claim in experiment.claims)
    assert f"| the LoRA paper's | 2 | 0 | {n - 2} | {n - 2} |" in page
    assert "(#table4-gpt-3-175b-by-formula) (holds: 2, does not hold: 1)" in page


def test_tables_verdicts_and_page_come_from_results_that_are_there(folder, capsys):
    (folder / "README.md").unlink(missing_ok=True)
    before = (folder / "table4.json").read_text()
    (folder / "table4.png").write_bytes(b"an old picture")
    assert main(["reproduce", "all", "--from-results", "--out", str(folder)]) == 0
    assert "**holds**: LoRA trains 10,000 times fewer parameters" in capsys.readouterr().out
    assert "37,748,736" in (folder / "README.md").read_text() and (folder / "table4.json").read_text() == before
    assert (folder / "table4.png").read_bytes().startswith(b"\x89PNG"), "drawn again"
    assert main(["reproduce", "table5", "--from-results", "--out", str(folder)]) == 2
    assert "table5.json" in capsys.readouterr().err
    assert main(["reproduce", "all", "--from-results", "--quick", "--out", str(folder)]) == 2
    assert "--quick was given, but --from-results runs nothing" in capsys.readouterr().err


def test_a_quick_run_has_no_place_on_the_page(folder):
    record = json.loads((folder / "table4.json").read_text())
    (folder / "table4.json").write_text(json.dumps(record | {"quick": True}))
    with pytest.raises(ValueError, match=r"table4\.json is of a quick run"):
        write_page(folder)


def test_a_result_of_another_version_says_so(folder):
    record = json.loads((folder / "table4.json").read_text())
    (folder / "table4.json").write_text(json.dumps(record | {"minilora": "0.0.1"}))
    write_page(folder)
    assert "Made by minilora 0.0.1 with `the command`" in (folder / "README.md").read_text()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"experiment": "table5"}', '{"experiment": "table4"}', "nul\0"])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "table4.json").write_text(content)
    with pytest.raises(ValueError, match=r"table4\.json is not a result of `minilora reproduce table4`"):
        read_record(tmp_path / "table4.json", "table4")


def test_every_experiment_is_listed(capsys):
    assert main(["reproduce", "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed if not line.startswith(" ")] == list(EXPERIMENTS)
    assert max(map(len, listed)) <= 80


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_page_can_say_on_what_terms_each_experiment_was_made(name):
    text = about(EXPERIMENTS[name], {"config": json.loads(json.dumps(asdict(EXPERIMENTS[name].config)))})
    assert "{" not in text and len(text) > 80


def test_an_unknown_experiment_gets_the_names(capsys):
    assert main(["reproduce", "table4", "table99"]) == 2
    assert "there is no experiment 'table99'; there are table" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--workers=0", "--workers was 0; it must be an integer from 1 to 1,024"),
        ("--seed=3", "unrecognized arguments: --seed=3"),
        ("--device=gpu", "unrecognized arguments: --device=gpu"),
    ],
)
def test_an_option_that_cannot_be_followed_is_refused(tmp_path, capsys, option, message):
    assert main(["reproduce", "table4", "--out", str(tmp_path), option]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_verb_writes_results_and_page(tmp_path, capsys):
    out, runs = str(tmp_path), str(tmp_path / "runs")
    assert main(["reproduce", "table4", "--out", out, "--runs", runs, "--workers", "1"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"table4.json", "table4.png", "README.md"}
    assert "table4: GPT-3 175B" in capsys.readouterr().out
