"""Completion in a shell: what argcomplete is told, as bash asks for it; and nothing, where it is not installed."""

import os
import subprocess
import sys

import pytest

from minilora.cli import completion, main
from minilora.cli.verbs import VERBS

ASKED = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_SHELL": "bash", "_ARGCOMPLETE_SUPPRESS_SPACE": "1", "COMP_TYPE": "9"}
WITHOUT = "import sys; sys.modules['argcomplete'] = None; from minilora.cli import main; sys.exit(main())"


def ask(line, folder, command=("-m", "minilora")):
    """What the shell gets for a line with the cursor at its end; see argcomplete's own shell function."""
    answers = folder / "answers"
    answers.unlink(missing_ok=True)
    typed = {"COMP_LINE": line, "COMP_POINT": str(len(line.encode())), "_ARGCOMPLETE_STDOUT_FILENAME": str(answers)}
    environment = os.environ | ASKED | typed | {"_ARGCOMPLETE_IFS": "\n", "IFS": "\n"}
    run = {"cwd": folder, "env": environment, "capture_output": True, "text": True, "check": False}
    done = subprocess.run([sys.executable, *command], **run)
    return (answers.read_text().splitlines() if answers.exists() else None), done


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("minilora me", ["merge"]),
        ("minilora help exp", ["export-peft", "export-gguf"]),
        ("minilora finetune --method adap", ["adapter-h", "adapter-l", "adapter-p", "adapter-d"]),
        ("minilora finetune --accum", ["--accumulation"]),
        ("minilora evaluate --split ", ["valid", "test"]),
        ("minilora bench train,", []),
        ("minilora bench --shapes S1,S", ["S1,S2", "S1,S3"]),
        ("minilora evaluate --model smol", ["smollm2"]),
        ("minilora evaluate --model my", ["my-model.safetensors"]),
        ("minilora evaluate --task unicode-names-", ["unicode-names-by-word"]),
    ],
)
def test_what_can_follow(line, expected, tmp_path):
    pytest.importorskip("argcomplete")
    (tmp_path / "my-model.safetensors").write_bytes(b"")
    answers, done = ask(line, tmp_path)
    assert sorted(answer.strip() for answer in answers) == sorted(expected) and done.stdout == done.stderr == ""


def test_every_verb_completes_its_options(tmp_path):
    pytest.importorskip("argcomplete")
    for verb in VERBS:
        parser = completion.parser_for(["minilora", verb])
        namespace = parser.parse_args([verb] if verb in ("demo", "finetune", "bench", "count") else ["help", verb])
        assert namespace is not None
    verbs = next(a for a in completion.parser_for(["minilora", "merge"])._actions if a.choices)
    assert set(verbs.choices) == {*VERBS, "help"}
    assert "--out" in verbs.choices["merge"].format_help() and "--out" not in verbs.choices["demo"].format_help()


def test_without_argcomplete_the_command_runs_as_ever(tmp_path):
    answers, done = ask("minilora me", tmp_path, ("-c", WITHOUT, "--version"))
    assert answers is None and done.returncode == 0 and done.stdout.startswith("minilora ")


def test_nothing_of_it_is_imported_for_a_command():
    code = "import sys; from minilora.cli import main; main(['--version']); assert 'argcomplete' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert main(["--version"]) == 0
