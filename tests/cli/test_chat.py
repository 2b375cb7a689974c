"""`minilora chat`: answers, the commands, what no longer fits, Ctrl-C, and a terminal."""

import contextlib
import io
import os
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minilora
from cli.running import check_refused
from experiments.tiny import CONFIG, LORA, adapted, byte_gpt
from methods.tiny import with_B
from minilora.cli import main
from minilora.data import ByteTokenizer
from minilora.data.conversation_rows import chat_prompt
from minilora.interop import load_gguf_adapter
from minilora.interop.gguf_adapter import save_gguf_adapter
from minilora.interop.gguf_save import save_gguf
from minilora.interop.opening import open_language_model

MODEL = ("--model", "model.safetensors")
CHAT = ("chat", *MODEL, "--max-tokens", "20")
ADAPTED = (*CHAT, "--adapter", "adapter.safetensors")
ON_ITS_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # Ctrl-C is for this process
from minilora.cli import main
sys.exit(main())
"""
MODULE = (sys.executable, "-m", "minilora")


@pytest.fixture(autouse=True)
def folder(gpt_folder, monkeypatch):
    monkeypatch.chdir(gpt_folder)
    return gpt_folder


def chat(monkeypatch, capsys, lines, arguments=CHAT):
    """Type some lines; returns what was printed, and what was said on standard error, as lines."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 0
    said = capsys.readouterr()
    return said.out.split("\n")[:-1], said.err.splitlines()


def answer_of(model, messages, max_tokens=20):
    tokenizer = ByteTokenizer()
    prompt = chat_prompt(messages, tokenizer)
    (ids,) = minilora.generate(model, [prompt], max_tokens=max_tokens, stop=tokenizer.end_of_text)
    return tokenizer.decode(ids).lstrip()


def user(text):
    return {"role": "user", "content": text}


def test_an_answer_is_the_model_s_to_all_that_was_said(monkeypatch, capsys):
    printed, said = chat(monkeypatch, capsys, ["Hello!", "", "And now?"])
    first = answer_of(byte_gpt(), [user("Hello!")])
    before = [user("Hello!"), {"role": "assistant", "content": first}]
    second = answer_of(byte_gpt(), [*before, user("And now?")])
    assert "\n".join(printed) == f"{first}\n{second}"
    assert said == ["(cut after 20 tokens)"] * 2


def test_an_adapter_is_switched_and_another_loaded(monkeypatch, capsys):
    asked = ["Hi", "/reset", "/adapter off", "Hi", "/reset", "/adapter on", "Hi", "/load adapter.safetensors"]
    printed, said = chat(monkeypatch, capsys, [*asked, "/reset", "Hi"], ADAPTED)
    model = byte_gpt()
    base = answer_of(model, [user("Hi")])
    minilora.load_adapter(model, "adapter.safetensors")
    adapted = answer_of(model, [user("Hi")])
    assert base != adapted and "\n".join(printed) == "\n".join([adapted, base, adapted, adapted])
    assert "model.safetensors, without adapter.safetensors" in said
    assert said.count("model.safetensors, with adapter.safetensors") == 2


@pytest.fixture
def gguf_files(tmp_path):
    """Adapters in llama.cpp's format: the small model's, a narrow one of it, and some that do not fit it."""
    pytest.importorskip("gguf")
    from interop.gguf_models import CONFIGS, tiny_llama
    from interop.gguf_models import adapted as adapted_llama

    narrow = byte_gpt()
    minilora.apply_lora(narrow, minilora.LoRAConfig(rank=2, targets=("o_proj",)), rng=np.random.default_rng(3))
    wider = byte_gpt(config=replace(CONFIG, d_model=24, d_mlp=96))
    minilora.apply_lora(wider, LORA, rng=np.random.default_rng(0))
    models = {"ours": adapted(), "narrow": with_B(narrow, 3), "wider": wider, "llama": adapted_llama()}
    for name, model in models.items():
        save_gguf_adapter(model, tmp_path / f"{name}.gguf")
    save_gguf(tiny_llama(CONFIGS["grouped"]), tmp_path / "model.gguf")
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "ours.gguf").read_bytes()[:-300])
    return tmp_path


def gguf_answers(*files):
    """What the small model answers to Hi: as it is, and with each of these adapters."""
    answers = [answer_of(byte_gpt(), [user("Hi")])]
    for file in files:
        model = byte_gpt()
        load_gguf_adapter(model, file)
        answers.append(answer_of(model, [user("Hi")]))
    assert len(set(answers)) == len(answers)
    return answers


def test_an_adapter_of_llama_cpp_answers_and_is_switched(gguf_files, monkeypatch, capsys):
    file = gguf_files / "ours.gguf"
    base, with_it = gguf_answers(file)
    asked = ["Hi", "/reset", "/adapter off", "Hi", "/reset", "/adapter on", "Hi"]
    printed, said = chat(monkeypatch, capsys, asked, (*CHAT, "--adapter", file))
    assert "\n".join(printed) == "\n".join([with_it, base, with_it])
    assert f"model.safetensors, without {file}" in said and f"model.safetensors, with {file}" in said
    assert chat(monkeypatch, capsys, ["Hi"], ADAPTED)[0] == with_it.split("\n")


def test_adapters_of_llama_cpp_are_loaded_next_to_others(gguf_files, monkeypatch, capsys):
    ours, narrow = gguf_files / "ours.gguf", gguf_files / "narrow.gguf"
    base, with_ours, with_narrow = gguf_answers(ours, narrow)
    asked = ["Hi"]
    for command in (f"/load {narrow}", f"/load {ours}", "/adapter off", "/adapter on", "/load adapter.safetensors"):
        asked += ["/reset", command, "Hi"]
    printed, _ = chat(monkeypatch, capsys, asked)
    assert "\n".join(printed) == "\n".join([base, with_narrow, with_ours, base, with_ours, with_ours])
    printed, _ = chat(monkeypatch, capsys, ["/reset", f"/load {narrow}", "Hi"], ADAPTED)
    assert "\n".join(printed) == with_narrow


GGUF_WRONG = {
    "of another shape": ("wider.gguf", "wider.gguf has A of shape .* in the model$"),
    "of a Llama": ("llama.gguf", "general.architecture was 'llama'; for this model it must be 'gpt2'$"),
    "a whole model": (
        "model.gguf",
        "^/load was .*model.gguf, a model .*; start chat with it as --model$",
    ),
    "damaged": ("cut.gguf", "cut.gguf"),
}


@pytest.mark.parametrize(("name", "message"), GGUF_WRONG.values(), ids=GGUF_WRONG)
def test_an_adapter_of_llama_cpp_that_does_not_fit_changes_nothing(name, message, gguf_files, monkeypatch, capsys):
    base, with_it = gguf_answers(gguf_files / "ours.gguf")
    for arguments, expected in ((CHAT, base), (ADAPTED, with_it)):
        printed, said = chat(monkeypatch, capsys, [f"/load {gguf_files / name}", "Hi"], arguments)
        assert re.search(message, said[0]) and len(said) == 2
        assert "\n".join(printed) == expected


def test_chat_does_not_begin_with_an_adapter_of_llama_cpp_that_does_not_fit(gguf_files, folder, capsys):
    for name, (file, message) in GGUF_WRONG.items():
        said = message if name != "a whole model" else "--adapter was .*, a model in llama.cpp's format"
        check_refused([*CHAT, "--adapter", gguf_files / file], said, folder, capsys)


def test_the_system_s_instruction_stands_first(monkeypatch, capsys):
    printed, _ = chat(monkeypatch, capsys, ["Hi", "/system Be long.", "Hi"], (*CHAT, "--system", "Be brief."))
    expected = [
        answer_of(byte_gpt(), [{"role": "system", "content": text}, user("Hi")]) for text in ("Be brief.", "Be long.")
    ]
    assert "\n".join(printed) == "\n".join(expected)


def test_temperature(monkeypatch, capsys):
    drawn = [*CHAT, "--temperature", "2", "--top-k", "5"]
    one, _ = chat(monkeypatch, capsys, ["Hi"], [*drawn, "--seed", "1"])
    same, _ = chat(monkeypatch, capsys, ["Hi"], [*drawn, "--seed", "1"])
    other, _ = chat(monkeypatch, capsys, ["Hi"], [*drawn, "--seed", "2"])
    assert one == same != other
    greedy, said = chat(monkeypatch, capsys, ["/temperature 0", "Hi"], drawn)
    assert "\n".join(greedy) == answer_of(byte_gpt(), [user("Hi")]) and said[0] == "temperature 0"


WRONG = {
    "no such command": ("/waltz", r"there is no command '/waltz'; /help shows them"),
    "adapter of nothing": ("/adapter on", r"there is no adapter; /load FILE takes one"),
    "adapter of what": ("/adapter perhaps", r"/adapter was perhaps; it must be on or off"),
    "no file": ("/load", r"/load was alone; it must name an adapter's file or run folder"),
    "no such file": ("/load none", r"/load was none; there is no such file"),
    "another shape": ("/load wider.safetensors", r"wider.safetensors: "),
    "a model": (
        "/load model.safetensors",
        r"^/load was model.safetensors, .* model; start chat with it as --model$",
    ),
    "temperature": ("/temperature hot", r"/temperature was hot; it must be a number from 0 to 1,000"),
    "control characters": ("/\x1b[2J", r"there is no command '/\\x1b\[2J'"),
    "too long": ("x" * 300, r"that made \d+ tokens; it must make fewer than 256 for this model"),
    "NUL": ("a\0b", r"NUL"),
}


@pytest.mark.parametrize(("line", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_and_the_chat_goes_on(line, message, monkeypatch, capsys):
    printed, said = chat(monkeypatch, capsys, [line, "Hi"])
    assert re.search(message, said[0]) and len(said) == 2
    assert "\n".join(printed) == answer_of(byte_gpt(), [user("Hi")])


def test_full_fine_tuning_cannot_be_switched_off(tmp_path, monkeypatch, capsys):
    model = byte_gpt()
    minilora.apply_method(model, "full")
    minilora.save_adapter(model, tmp_path / "full.safetensors")
    full = ["--adapter", tmp_path / "full.safetensors"]
    _, said = chat(monkeypatch, capsys, ["/adapter off"], [*CHAT, *full])
    assert "replaced the base's own weights, and cannot be switched off" in said[0]
    _, said = chat(monkeypatch, capsys, [f"/load {tmp_path / 'full.safetensors'}"])
    assert "full fine-tuning replaces the base" in said[0]


def test_the_oldest_messages_are_left_out_with_a_word_about_it(monkeypatch, capsys):
    lines = [f"{i}" + "x" * 60 for i in range(4)]
    _, said = chat(monkeypatch, capsys, lines)
    assert "(the oldest 2 messages no longer fit, and were left out) (cut after 20 tokens)" in said
    printed, _ = chat(monkeypatch, capsys, ["y" * 200, "Hi"])
    assert "\n".join(printed).endswith(answer_of(byte_gpt(), [user("Hi")]))


def test_help_and_the_end(monkeypatch, capsys):
    printed, said = chat(monkeypatch, capsys, ["/help", "/quit", "Hi"])
    commands = ["/adapter", "/load", "/temperature", "/system", "/reset", "/help", "/quit"]
    assert [line.split()[0] for line in printed] == commands and said == []


REFUSED = {
    "an encoder": (["chat", "--model", "encoder"], "this command needs a decoder"),
    "no model": (["chat", "--model", "none"], "--model was none; there is no such file or folder"),
    "seed of the likeliest": (["chat", "--seed", "1"], "--seed was given, but --temperature was 0"),
    "no tokens": (["chat", "--max-tokens", "0"], "--max-tokens was 0"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_opened(arguments, message, folder, capsys):
    check_refused(arguments, message, folder, capsys)


def test_input_that_is_no_text():
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([*MODULE, *CHAT], input=b"\xff\n", capture_output=True, env=strict, check=False)
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 2 and "the input is not in utf-8" in line


@pytest.fixture
def ctrl_c():
    """Ctrl-C reaches what the test starts, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_stops_the_answer_and_not_the_program():
    long = [*MODULE, "chat", *MODEL, "--max-tokens", "200"]
    with subprocess.Popen(long, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(b"Hi\n")
        process.stdin.flush()
        first = process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(b"Again\n", timeout=120)
    assert process.returncode == 0 and first
    assert err.decode().splitlines() == ["(stopped)", "(cut after 200 tokens)"] or b"(stopped)" in err, err


@pytest.mark.slow  # on a busy machine, Ctrl-C can come between two reads of readline
@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_on_a_terminal_there_is_a_prompt_and_lines_can_be_recalled():
    main_end, other_end = os.openpty()
    command = [sys.executable, "-c", ON_ITS_TERMINAL, *CHAT]
    ends = dict.fromkeys(("stdin", "stdout", "stderr"), other_end)
    with subprocess.Popen(command, **ends, start_new_session=True) as process:
        os.close(other_end)
        try:
            said = Typed(main_end)
            said.until("/help shows the commands")
            said.until("> ")
            said.type("/temperature 3\n")
            said.until("\ntemperature 3")
            said.until("> ")
            said.type("\x1b[A\n")  # the arrow up, and return
            said.until("temperature 3\r\n")
            said.until("temperature 3")
            said.until("> ")
            time.sleep(1)  # readline waits for a key only some time after it has shown its prompt
            said.type("\x03")
            said.until("once more, or /quit, to end")
            said.type("\x04")
            with contextlib.suppress(OSError):
                said.until("\0")
            assert process.wait(60) == 0
        finally:
            process.kill()  # it would wait for a key for ever
    os.close(main_end)


class Typed:
    """A terminal, of which the other end is a program."""

    def __init__(self, end):
        self.end, self.said = end, ""

    def type(self, text):
        os.write(self.end, text.encode())

    def until(self, text):
        while text not in self.said:
            ready, _, _ = select.select([self.end], [], [], 60)
            assert ready, f"{text!r} did not come; what came was {self.said!r}"
            self.said += os.read(self.end, 1024).decode(errors="replace")
        self.said = self.said.partition(text)[2]


def test_the_name_of_the_model_is_that_of_its_file():
    assert open_language_model(Path("model.safetensors")).name == "model.safetensors"
