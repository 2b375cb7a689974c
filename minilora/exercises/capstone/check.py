"""The capstone's report: whether each answer is right, whether the run is minilora's, and what the adapter writes."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy

from minilora.data import ByteTokenizer, parse_source, slot_errors
from minilora.exercises.capstone import comparing, reference
from minilora.exercises.capstone.own_arrays import findings_at
from minilora.exercises.capstone.running import run_answers
from minilora.exercises.capstone.setting import BATCH_SIZE, OPENING, Capstone, capstone
from minilora.exercises.checking import Verdict, check_answer, lines_of
from minilora.exercises.earlier import earlier_for
from minilora.exercises.runner.capstone import Setting, Trained
from minilora.exercises.sources import CAPSTONE, find
from minilora.exercises.tasks import TASKS
from minilora.models.generation import generate

LONGEST = 120  # bytes of a sentence
SHOWN = 4  # sentences


def check_capstone(
    answers: dict[str, str],
    seed: int = 0,
    say: Callable[[str], object] = print,
    after: Callable[[int], object] = lambda n: None,
    made: Capstone | None = None,
) -> bool:
    """Train with a student's answers, and compare.

    Parameters
    ----------
    answers : dict of str to str
        The source of each answer that there is, by exercise: those of CAPSTONE, and others that they import.
    seed : int
        Of the points at which each answer is checked before the run.
    say : callable
        Takes each line of the report, as soon as it is known.
    after : callable
        Is told from time to time how many steps are done.
    made : Capstone, optional
        The run, if it is not the usual one.

    Returns
    -------
    passed : bool
    """
    if not _each_is_right(answers, seed, say):
        return False
    run = made or capstone()
    setting, steps = run.setting, len(run.setting.batches)
    rank = setting.numbers["rank"]
    say(
        f"\nTraining: {steps} steps of {BATCH_SIZE} sentences, LoRA with r = {rank} on every linear map of the bundled "
        "decoder's blocks, in float64. Your functions in a process of their own, minilora's beside them, on the same "
        "batches ..."
    )
    began = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        right = pool.submit(reference.minilora_run, setting)
        mine = run_answers(answers, setting, after)
        expected = right.result()
    seconds = time.perf_counter() - began
    if mine.trained is None:
        whose = f"In {_named(_exercise_of(mine.function))}: " if mine.function else ""
        say(f"\nThe run ended early. {whose}{mine.error}")
        return False
    wrong_loss = comparing.first_wrong_loss(mine.trained, expected)
    error = comparing.error_of_arrays(mine.trained, expected)
    say(f"Done in {seconds:.0f} seconds. The loss, in nats per byte:\n")
    for line in _losses(mine.trained, expected.losses):
        say(line)
    if wrong_loss is not None or not error <= comparing.BOUND:
        say("\nYour run is not minilora's.")
        _blame(mine.trained, wrong_loss, setting, answers, say)
        return False
    say(f"\nYour A and B are minilora's: they differ by {error:.1g}, relative to their norms, which is rounding.")
    _sentences(mine.trained, run, say)
    return True


def _each_is_right(answers, seed, say):
    """Whether each of the eight passes its own exercise; says which do not."""
    say("Your eight answers, each by itself:\n")
    verdicts: dict[str, Verdict | None] = {}
    for name in CAPSTONE:
        others = {n: source for n, source in answers.items() if n != name}
        verdicts[name] = check_answer(name, answers[name], seed, others) if name in answers else None
        verdict = verdicts[name]
        state = "no answer yet" if verdict is None else "right" if verdict.passed else "wrong"
        say(f"  {find(name).number:>2}  {name}: {state}")
    wrong = [name for name, verdict in verdicts.items() if verdict is None or not verdict.passed]
    for name in wrong:
        verdict = verdicts[name]
        if verdict is not None:
            say(f"\n{verdict.report}")
    if wrong:
        say(f"\nNot trained yet: the run needs {', '.join(_named(name) for name in wrong)}.")
    return not wrong


def _named(name):
    return f"exercise {find(name).number}, {name}"


def _exercise_of(function):
    return next(name for name, task in TASKS.items() if function in task.functions)


def _losses(trained: Trained, right: numpy.ndarray):
    steps = len(right)
    chosen = sorted({0, 1, 2, *range(0, steps, max(steps // 5, 1)), steps - 1} & set(range(steps)))
    yield "  before step        yours    minilora's"
    for n in chosen:
        yield f"  {n + 1:>11}  {trained.losses[n]:>11.6f}  {right[n]:>12.6f}"


def _blame(trained, wrong_loss, setting: Setting, answers, say):
    """Say which answer is wrong: the first call that gave something else than the right function."""
    last = len(setting.batches) - 1 if wrong_loss is None else wrong_loss
    parting = comparing.parting(trained, setting, last)
    if parting is None:
        say("Call by call, each answer gave what it should: the run was changed in another way, from within your code.")
        return
    name = _exercise_of(parting.function)
    when = f"in step {parting.step}" if parting.step else "at the start"
    say(f"The answer that is wrong: {_named(name)}.")
    say(f"Its {parting.tensor} is wrong for the first time {when}; all calls before that gave what they should.")
    others = {n: source for n, source in answers.items() if n != name}
    findings = findings_at(parting, name, answers[name], setting, earlier_for(name, others))
    wrong = [finding for finding in findings if not finding.right]
    for finding in wrong:
        for line in lines_of(finding):
            say(line)
    if not wrong:
        say(
            "With the first sentence of that step alone it is right. So it goes wrong with several sentences at once, "
            "with other sizes than it was tried with, or by what it keeps from one call to the next."
        )


def _sentences(trained: Trained, run: Capstone, say):
    """What the student's adapter writes, on minilora's decoder."""
    tokenizer = ByteTokenizer()
    written = {}
    for who, arrays in (("base", None), ("yours", trained.arrays)):
        model = reference.adapted_decoder(run.setting, arrays)  # with B = 0, it is the base
        prompts = run.prompts if arrays is not None else run.prompts[:1]
        ids = generate(model, prompts, max_tokens=LONGEST, stop=tokenizer.end_of_text)
        written[who] = [tokenizer.decode(row).strip() for row in ids]
    exact = [
        slot_errors(parse_source(source), text).exact
        for source, text in zip(run.sources, written["yours"], strict=True)
    ]
    say(
        f"\nLists that nobody has trained on, and what your adapter writes. {sum(exact)} of {len(exact)} sentences say "
        "all that the list says, and nothing else:\n"
    )
    for source, text in list(zip(run.sources, written["yours"], strict=True))[:SHOWN]:
        say(f"  {source}\n      {text}")
    say(f"\nThe base, without it, goes on after the first list with:\n      {_one_line(written['base'][0])}")
    say(
        "\nThese lists are mini-E2E's shortest, and all sentences that were trained on begin with "
        f"`{OPENING}`: so few steps are enough. `minilora demo` trains on all of mini-E2E."
    )


def _one_line(text):
    return repr(text[:100])[1:-1]
