"""A process that is killed in the middle of training loses nothing: it ends with the bits of one that was not."""

import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from methods.tiny import same_bits, weights_of
from minilora.training import resume_newest
from training import killable
from training.killable import saying_trainer


def start(folder, steps):
    command = [sys.executable, killable.__file__, str(folder), str(steps)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(killable.__file__).parents[2])
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(kills, tmp_path):
    steps, draw, known = 8 * (kills + 1), np.random.default_rng(kills), 0
    for _ in range(kills):
        process, begun = start(tmp_path, steps)
        assert begun >= known, "a step that was saved is lost"
        known = begun
        for _ in range(int(draw.integers(0, 6))):
            known = int(process.stdout.readline())
        time.sleep(float(draw.uniform(0, 0.03)))  # anywhere in a step, or in the writing of its checkpoint
        process.kill()
        process.wait()
        process.stdout.close()
    process, begun = start(tmp_path, steps)
    assert known <= begun < steps, "the last kill came too late to try anything"
    process.communicate()
    assert process.returncode == 0

    survivor, whole = saying_trainer(tmp_path, steps), saying_trainer(None, steps)
    resume_newest(survivor, tmp_path)
    whole.run(progress=False)
    assert survivor.step == steps
    assert same_bits(weights_of(survivor.model), weights_of(whole.model))
    assert asdict(survivor.history) | {"seconds": 0} == asdict(whole.history) | {"seconds": 0}
