"""Templates write what transformers makes of them, and none of them can run away."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.chat_templates import CONVERSATIONS, TEMPLATES, TOKENS, said
from minilora.data import ChatTemplate, PlainTemplate
from minilora.data.chat_template import MOST_CHARACTERS, CannotRender

pytest.importorskip("jinja2")
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "chat.json").read_text())["texts"]


def template(name):
    return ChatTemplate(TEMPLATES[name], *TOKENS[name])


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_writes_what_transformers_writes(name):
    for messages, texts in zip(CONVERSATIONS, GOLDEN[name], strict=True):
        for prompt, text in zip((False, True), texts, strict=True):
            if text is None:
                with pytest.raises(CannotRender, match="the chat template failed: Conversation roles must alternate"):
                    template(name).render(messages, prompt)
            else:
                assert template(name).render(messages, prompt) == text


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("smollm2", ["Good morning.<|im_end|>\n", "Good night.<|im_end|>\n"]),
        ("llama3", ["Good morning.<|eot_id|>", "Good night.<|eot_id|>"]),
        ("mistral", ["Good morning.</s>", "Good night.</s>"]),
    ],
)
def test_the_places_of_the_answers_are_found(name, answers):
    messages = said("Hello!", "Good morning.", "And now?", "Good night.", "Thank you.")
    (written,) = template(name).write([messages])
    assert written.text == template(name).render(messages)
    assert [written.text[begin:end] for begin, end in written.answers] == answers


def test_the_plain_form():
    messages = said("Hello!", "Good morning.", "And now?", system="Be brief.")
    (written,) = PlainTemplate().write([messages])
    assert written.text == "System: Be brief.\nUser: Hello!\nAssistant: Good morning.\nUser: And now?\n"
    assert [written.text[begin:end] for begin, end in written.answers] == [" Good morning."]
    assert PlainTemplate().render(messages, add_generation_prompt=True) == f"{written.text}Assistant:"


def test_a_template_that_writes_a_beginning_otherwise_when_more_follows_is_refused_with_its_place():
    last_only = ChatTemplate(
        "{% for m in messages %}{% if loop.last or m.role == 'user' %}{{ m.role + m.content + '|' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}assistant{% endif %}"
    )
    assert last_only.write([said("a", "b")])[0].answers == ((15, 17),)
    with pytest.raises(CannotRender, match="writes the beginning of a conversation otherwise when more") as error:
        last_only.write([said("a", "b"), said("a", "b", "c", "d")])
    assert error.value.index == 1


# ---- what a hostile template does

HOSTILE = {
    "a loop": ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "does it loop"),
    "a big number": ("{{ 7 ** (10 ** 8) }}", "does it loop|MB"),
    "a long text": ("{{ 'x' * 10 ** 10 }}", "more than 180 MB"),
    "a wide text": ("{{ 'x'.ljust(10 ** 9) }}", "more than 180 MB"),
    "many short texts": ("{% for i in range(99999) %}{{ 'x' * 99 }}{% endfor %}", "more than 4,000,000 characters"),
    "itself": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
    "brackets": ("{{" + "(" * 90_000, "RecursionError|does it loop"),
    "Python's insides": ("{{ ''.__class__.__mro__ }}", "SecurityError: .*unsafe"),
    "a change of the messages": ("{{ messages.append(1) }}", "SecurityError: .*unsafe"),
    "another file": ("{% include '/etc/passwd' %}", "TypeError: no loader"),
    "no template": ("{% if %}", "TemplateSyntaxError"),
    "control characters": ("{{ raise_exception('\x1b]0;title\x07' + 'y' * 10000) }}", "the chat template failed: .*yy"),
    "a missing name": ("{{ nobody.name }}", "UndefinedError: 'nobody' is undefined"),
}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system cannot limit processor time")
@pytest.mark.parametrize(("source", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template_is_refused_in_one_line_and_two_seconds(source, message):
    before = sum(os.times()[:4])  # with that of processes that have ended
    with pytest.raises(ValueError, match=message) as error:
        ChatTemplate(source).render(said("Hello!"))
    assert sum(os.times()[:4]) - before < 2
    assert str(error.value).isprintable() and len(str(error.value)) < 500


def test_which_conversation_made_it_loop_is_known():
    source = (
        "{% if messages|length > 2 %}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    )
    with pytest.raises(CannotRender, match="was stopped") as error:
        ChatTemplate(source + "{% endif %}").write([said("a", "b"), said("a", "b"), said("a", "b", "c"), said("a")])
    assert error.value.index == 2


def test_a_template_of_megabytes_or_of_no_text_is_refused_at_once():
    with pytest.raises(ValueError, match="the chat template has 100,001 characters; it must have at most 100,000"):
        ChatTemplate("x" * (MOST_CHARACTERS + 1))
    with pytest.raises(TypeError, match="the chat template must be a str, not list"):
        ChatTemplate([])


def test_without_jinja_it_says_what_to_install():
    program = (
        "import sys; sys.modules['jinja2'] = None\nfrom minilora.data import ChatTemplate, PlainTemplate\n"
        "print(PlainTemplate().render([]) == '')\n"
        "try: ChatTemplate('x')\nexcept RuntimeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "True\nchat templates need the package jinja2: pip install 'minilora[hf]'\n", done.stderr


def test_thousands_of_conversations_take_seconds():
    started = time.process_time() + sum(os.times()[2:4])
    written = template("smollm2").write([said("Hello!", str(i)) for i in range(2000)])
    assert [w.text[slice(*w.answers[0])] for w in written] == [f"{i}<|im_end|>\n" for i in range(2000)]
    assert time.process_time() + sum(os.times()[2:4]) - started < 10
