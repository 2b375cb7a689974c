"""The capstone: eight of a student's own answers train LoRA on the bundled decoder.

    minilora exercises check capstone

A training run with LoRA needs eight things that the exercises ask for, and nothing else that they ask for:

| exercise | what it does in the run |
|---|---|
| linear_backward | the gradient through the frozen head |
| lora_linear_forward, lora_linear_backward | every linear map of every block |
| cross_entropy_backward | where all gradients begin |
| lora_start | A, B and the scale before the first step |
| adamw_step | the step |
| layernorm | twice in a block, and once at the end; forward and backward |
| attention_backward | the gradients of q, k and v; softmax_backward is inside, and used if it is imported |

The run takes place in the process of the answers, which has no minilora: a small decoder in plain NumPy (`runner/`),
with eight holes. Meanwhile minilora trains the same adapter on the same batches, in this process. Then losses and
weights are compared. If they differ, the numbers that each call has left behind are compared with those of the right
functions, call by call: the first that differs had right arguments, so its function is wrong.
"""

from minilora.exercises.capstone.check import check_capstone
from minilora.exercises.capstone.setting import STEPS

__all__ = ["STEPS", "check_capstone"]
