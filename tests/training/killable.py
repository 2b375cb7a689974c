"""A tiny run in a process of its own, to be killed: python tests/training/killable.py FOLDER STEPS

It says on standard output how many steps it begins with, and then every step that is saved.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from methods.tiny import EVERYWHERE, tiny_lora
from minilora.methods import LoRAConfig
from minilora.training import evaluate_loss, resume_newest
from training.runs import EXAMPLES, trainer

DROPOUT = LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, dropout=0.3)


def saying_trainer(folder, steps, say=lambda step: None):
    """A run that saves each step, and validates on its examples; `say` is told each step once it is saved."""
    model = tiny_lora(DROPOUT)

    def validate():
        say(made.step - 1)  # the step before this one is saved
        return evaluate_loss(model, [EXAMPLES])

    settings = {"steps": steps, "eval_every": 1, "checkpoint_every": 1 if folder else None}
    made = trainer(model, folder=folder, validate=validate, **settings)
    return made


def main(folder, steps):
    made = saying_trainer(folder, int(steps), say=lambda step: print(step, flush=True))
    resume_newest(made, folder)
    print(made.step, flush=True)
    made.run(progress=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
