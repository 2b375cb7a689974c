# %% [markdown]
# # 5. Pretrain, then adapt
#
# **Goal.** Adapt a pretrained model to a task, with LoRA and with full fine-tuning; know exactly what the loss
# counts; and measure what LoRA saves (trained numbers, files, optimizer state), and what it does not (most of the
# time, and the activations).
#
# **Minutes.** 50
#
# **Prerequisites.** [4. A transformer, forward and backward](04_a_transformer.ipynb).
#
# **Next.** [6. Merging, switching, many tasks](06_merging_and_switching.ipynb).
# To write it yourself: [exercises 10 and 22](exercises/README.md), `minilora exercises start 10`.

# %%
# %matplotlib inline
import tempfile
from pathlib import Path

import numpy as np

from minilora import FullConfig, LoRAConfig, apply_method, generate, load_adapter, load_bundled, plots
from minilora.data import EOT, load_task
from minilora.methods import bundled_adapter
from minilora.models import bundled_recipe
from minilora.ops import softmax_forward
from minilora.training import TrainConfig, Trainer, evaluate_loss

# %% [markdown]
# ## Pretraining
#
# The decoder that comes with minilora has learned two things, one after the other. First, to guess the next byte of
# English documentation. Then, to **use what it has just read**: it was given random strings twice, lists with an item
# missing, keywords and the sentence that they come from. That took some two hours, so it is not repeated here; how it
# was made is kept next to it. Losses are in **bits per byte**: how many bits one would need to write down each byte,
# with the model's guesses as a code. Without any model it is 8.

# %%
recipe = bundled_recipe("decoder")
curve = [(point["step"], point["bits_per_byte"]) for point in recipe["start"]["recipe"]["validation"]]
n = len(curve)
curve += [(curve[n - 1][0] + point["step"], point["bits_per_byte"]) for point in recipe["validation"]]
steps, bits = zip(*curve)
gzip = [recipe["gzip_bits_per_byte"]["valid"]] * len(steps)
lines = {"prose alone": (steps[:n], bits[:n]), "then more": (steps[n:], bits[n:]), "gzip": (steps, gzip)}
plots.curves(lines, x="step", y="bits per byte of prose")

# %% [markdown]
# The curve is that of prose. It rises where the model begins to learn something else at a high learning rate, and
# comes down again at the end, where the rate falls to zero.
#
# Does it use what it has read? Take a name that nobody has ever heard of, twice in one text. The first time it has to
# be guessed letter by letter; the second time it can be looked up:

# %%
base = load_bundled("decoder")
name = "Zorvik Thalune"
text = f"The module was written by {name} and others. Please send your questions to {name} as well."
ids = np.frombuffer(text.encode(), np.uint8).astype(int)[None]  # (1, T)
logits, _ = base.forward(ids)  # (1, T, V)
probs, _ = softmax_forward(logits)
bits = -np.log2(np.take_along_axis(probs[:, :-1], ids[:, 1:, None], axis=-1)).ravel()  # of each byte but the first
for which, start in ("first", text.index(name)), ("second", text.rindex(name)):
    cost = bits[start + 2 : start + len(name) - 1]  # from its fourth byte on: by then one can tell which name it is
    print(f"the {which} time: {cost.mean():.2f} bits per byte")

# %% [markdown]
# ## The task
#
# Mini-E2E is a small version of a task of the paper: given a list of attributes of a restaurant, say them in a
# sentence. The list is the source $x$, the sentence the target $y$.

# %%
task = load_task("mini-e2e", length=256, n_train=400, n_held_out=16)
for example in task.splits["train"][:3]:
    print(example.source, "\n    ->", example.target)

# %% [markdown]
# ## The objective
#
# Call all numbers of the pretrained model $\Phi_0$. Full fine-tuning starts there, and changes every one of them so
# that the targets become likely (the paper's equation 1):
#
# $$\max_{\Phi} \; \sum_{(x, y)} \sum_t \log p_{\Phi}(y_t \mid x, y_{<t}).$$
#
# It ends at $\Phi_0 + \Delta\Phi$, with a $\Delta\Phi$ as large as the model, $|\Delta\Phi| = |\Phi_0|$, to be stored
# for every task. LoRA writes the change as a function of far fewer numbers $\Theta$, and looks for those (equation
# 2):
#
# $$\max_{\Theta} \; \sum_{(x, y)} \sum_t \log p_{\Phi_0 + \Delta\Phi(\Theta)}(y_t \mid x, y_{<t}),
# \qquad |\Theta| \ll |\Phi_0|.$$
#
# $\Theta$ is every $A$ and $B$, and $\Delta\Phi(\Theta)$ puts $\text{scale}\, B A$ where a matrix is adapted, and 0
# elsewhere. The objective is the same, and so is the model; only the set of changes is smaller. By how much, with the
# paper's $r = 4$ on $W_q$ and $W_v$:

# %%
from minilora.accounting import adaptation, find_architecture

for name in "gpt2-medium", "gpt3-175b":
    architecture = find_architecture(name)
    phi_0 = adaptation(architecture, "full").trainable
    theta = adaptation(architecture, "lora", rank=4, targets=("q_proj", "v_proj")).trainable
    print(f"{name:11}  |Phi_0| = {phi_0:15,}   |Theta| = {theta:10,}   {100 * theta / phi_0:.3f} %")

# %% [markdown]
# What is **not** claimed: that LoRA approximates the gradient. $\Delta W = \text{scale}\, B A$ stands for the update
# that all steps together have made. Of the gradient $G$ of a single step, LoRA's own gradients are projections, $dA =
# \text{scale}\, B^\top G$ and $dB = \text{scale}\, G A^\top$ ([notebook 3](03_lora_by_hand.ipynb)).
#
# ### The loss is on y only
#
# Read the objective closely: the sum runs over the tokens of $y$. The source $x$ stands to the right of the bar; it is
# read, but not predicted. So a batch has a third array next to ids and targets, a **loss mask**, True where a target
# counts. In one row of a batch (the first byte is missing, for nothing stands before it from which it could be
# predicted; the last, drawn as a square, is the end of the text, which has to be learned as well):

# %%
batch = task.sample_batch(np.random.default_rng(0), 1)  # ids, targets and loss_mask of shape (N, T)
text = "".join(chr(byte) if byte != EOT else "■" for byte in batch.targets[0])
plots.marked_text(text, batch.loss_mask[0], marked="y: counts in the loss", unmarked="x: is read only")

# %% [markdown]
# It makes a difference. Asked for all of it, the model is judged mostly by how well it guesses attributes, which
# nobody wants from it:

# %%
y_only = next(iter(task.batches("test")))  # ids, targets and loss_mask of shape (N, T)
x_and_y = y_only._replace(loss_mask=np.ones_like(y_only.loss_mask))
for name, batch in ("y only", y_only), ("x and y", x_and_y):
    loss, _ = base.loss(batch, need_grad=False)
    print(f"{name:8} {batch.n_targets:5} targets, {loss / np.log(2):.2f} bits per byte")

# %% [markdown]
# ## Adapting, twice
#
# Both methods go through the same loop and see the same batches. `apply_method` says what is trained: everything, or
# $A$ and $B$ on all six linear layers of each block. A method gets a learning rate that suits it; LoRA's is larger
# (and four times as large again for $B$: that is LoRA+, [notebook 11](11_after_lora.ipynb)). Sixty steps take
# half a minute, and are enough to see the direction.

# %%
everywhere = ("q_proj", "k_proj", "v_proj", "o_proj", "fc_in", "fc_out")
lora = LoRAConfig(rank=8, alpha=16, targets=everywhere)
methods = {
    "LoRA": (lora, TrainConfig(steps=60, batch_size=8, lr=5e-3, lr_ratio_B=4.0, eval_every=20)),
    "full fine-tuning": (FullConfig(), TrainConfig(steps=60, batch_size=8, lr=2e-3, eval_every=20)),
}

# %%
trainers = {}
for name, (method, config) in methods.items():
    model = load_bundled("decoder")
    apply_method(model, method, rng=np.random.default_rng(0))
    trainers[name] = Trainer(
        model,
        sample_batch=lambda rng: task.sample_batch(rng, 8),
        config=config,
        validate=lambda model=model: evaluate_loss(model, task.batches("valid")),
    )


# %%
def in_bits(history):
    """The training losses, and (step, validation loss), in bits per byte."""
    return np.array(history.losses) / np.log(2), [(step, loss / np.log(2)) for step, loss in history.validation]


histories = {name: trainer.run(progress=False) for name, trainer in trainers.items()}
plots.loss_curves({name: in_bits(history) for name, history in histories.items()})

# %% [markdown]
# (Read two curves of one seed each as an illustration, not as a comparison of methods. A comparison, with five seeds,
# tuned learning rates and up to 900 steps, is "budget" among [the figures](../figures/README.md).) What do they write,
# after so little training?

# %%
prompts, references = task.prompts("test", 1)
models = {"base": base} | {name: trainer.model for name, trainer in trainers.items()}
print("prompt:".ljust(18), task.tokenizer.decode(prompts[0]).strip())
for name, model in models.items():
    (answer,) = generate(model, prompts, max_tokens=60, stop=EOT)
    print(f"{name}:".ljust(18), task.tokenizer.decode(answer).strip().replace("\n", " "))
print("reference:".ljust(18), references[0])

# %% [markdown]
# The base picks words out of the list, for it has learned to look back, but does not know what is wanted. The adapted
# ones know how a sentence begins; to say everything, once, takes longer. An adapter that was trained for 1,500 steps
# of 16 examples comes with minilora. On the same base, what does it answer?

# %%
longer = load_bundled("decoder")
load_adapter(longer, bundled_adapter())
prompts, references = task.prompts("test", 3)
for prompt, answer in zip(prompts, generate(longer, prompts, max_tokens=160, stop=EOT)):
    print(task.tokenizer.decode(prompt).strip(), "\n    ->", task.tokenizer.decode(answer).strip())

# %% [markdown]
# `make demo` trains one of your own, and compares it with full fine-tuning.
#
# ## What LoRA saves: trained numbers, and files

# %%
from minilora import save_adapter, save_model
from minilora.accounting import count_parameters

for name, trainer in trainers.items():
    count = count_parameters(trainer.model)
    print(f"{name:18} {count.trainable:10,} of {count.total:,} are trained, {count.percent:.2f} %")

# %%
with tempfile.TemporaryDirectory() as folder:
    files = {"LoRA": Path(folder) / "adapter.safetensors", "full fine-tuning": Path(folder) / "model.safetensors"}
    save_adapter(trainers["LoRA"].model, files["LoRA"])
    save_model(trainers["full fine-tuning"].model, files["full fine-tuning"])
    kilobytes = {name: path.stat().st_size / 1000 for name, path in files.items()}
plots.bars(kilobytes, x="kilobytes of the file", log=True)

# %% [markdown]
# ## What LoRA does not save: most of the time
#
# "Training is not faster", **users say** ([LoRA 24](https://github.com/microsoft/LoRA/issues/24), [peft
# 664](https://github.com/huggingface/peft/issues/664), [peft 2063](https://github.com/huggingface/peft/issues/2063)).
# How much faster should it be? A weight matrix takes part in three products: in the forward, $xW^\top$; in the
# backward, $dx = dy\,W$; and $dW = dy^\top x$. All three cost the same. With $W$ frozen the third is saved, and only
# that. So at best, a step costs **two thirds**. By formula, for GPT-2 medium:

# %%
from minilora.accounting import flops_per_token

medium = find_architecture("gpt2-medium")
ways = {"full fine-tuning": adaptation(medium, "full"), "LoRA": adaptation(medium, "lora", rank=8, targets=everywhere)}
operations = {}
for name, way in ways.items():
    parts = flops_per_token(medium, way, length=512)._asdict()
    operations[name] = {part: flops / 1e6 for part, flops in parts.items()}
plots.stacked({"GPT-2 medium": operations}, x="million operations per token")

# %% [markdown]
# And measured, in our run of a small model, where the thin products of $A$ and $B$ take some of it back:

# %%
seconds = {name: history.seconds / len(history.losses) for name, history in histories.items()}
plots.bars({name: 1e3 * s for name, s in seconds.items()}, x="milliseconds per step")

# %% [markdown]
# (If your machine was busy with something else, this picture is about that.)
#
# ## And the memory?
#
# "Memory is not lower", **users say** as well ([peft 1514](https://github.com/huggingface/peft/issues/1514), [peft
# 2196](https://github.com/huggingface/peft/issues/2196), [LoRA 153](https://github.com/microsoft/LoRA/issues/153)). A
# training step holds four things:
#
# - the **weights**: all of them, frozen or not, and $A$ and $B$ on top;
# - a **gradient** for every trained number;
# - the **optimizer's state**: two numbers more for every trained one, with AdamW;
# - the **activations**: what the forward has to keep for the backward. They grow with the batch and the length of the
#   texts.
#
# LoRA makes the second and the third vanish, nearly. The first stays. And the fourth? By formula, for GPT-2 medium
# with 8 texts of 512 tokens:

# %%
from minilora.accounting import memory_estimate

megabytes = {}
for name, way in ways.items():
    estimate = memory_estimate(medium, way, batch_size=8, length=512)
    parts = ("weights", "gradients", "optimizer", "activations")
    megabytes[name] = {part: getattr(estimate, part) / 1e6 for part in parts}
plots.stacked({"GPT-2 medium, 8 texts of 512 tokens": megabytes}, x="megabytes")

# %% [markdown]
# The activations have not become fewer at all! An adapted layer keeps its input for $dA = dh^\top x$, just as a
# trained one keeps it for $dW = dy^\top x$. Only a layer that is frozen and **not** adapted forgets its input
# ([notebook 4](04_a_transformer.ipynb)). With LoRA on $W_q$ and $W_v$ alone, as in most of the paper:

# %%
ways["LoRA, W_q and W_v"] = adaptation(medium, "lora", rank=8, targets=("q_proj", "v_proj"))
kept = {}
for name, way in ways.items():
    kept[name] = memory_estimate(medium, way, batch_size=8, length=512).activations / 1e6
plots.bars(kept, x="megabytes of activations")

# %% [markdown]
# So where activations dominate, LoRA saves little; with small batches of short texts, or a very large model, the
# weights and the state do, and it saves much. The paper's "up to 2/3" is the second case: of weights, $m$ and $v$,
# one of three remains, and neither gradients nor activations are counted. Here is what a step of our own two runs
# needs, followed array by array:

# %%
from minilora.experiments.measure import step_memory

peaks = {}
for name, trainer in trainers.items():
    memory = step_memory(trainer)
    stays, peak = memory["staying"] / 1e6, memory["peak"] / 1e6
    peaks[name] = {"stays": stays, "comes and goes in a step": peak - stays}
plots.stacked({"our model": peaks}, x="megabytes", form="{:,.1f}")

# %% [markdown]
# ## On a GPU
#
# `load_bundled("decoder", device="gpu")` is the only line that changes. There, memory is what decides whether a model
# can be trained at all, so what LoRA saves of the state is worth more; and a small model like ours gains little
# speed, for a GPU spends its time on starting operations ([notebook 10](10_gpu_and_checkpoints.ipynb)).
#
# ## Questions
#
# **1.** The mask is True from the line break on, not from the first byte of the sentence on. Why?
#
# <details><summary>Answer</summary>
#
# Targets are moved by one: the position that reads the line break is the one that predicts the first byte of $y$. And
# the last position that counts predicts the end of the text.
#
# </details>
#
# **2.** You train on $x$ and $y$ instead. What does the model learn in addition, and what might it cost?
#
# <details><summary>Answer</summary>
#
# To write lists of attributes. Its few trained numbers are shared between that and what you want, and most of the
# loss may come from $x$, so that the number you watch says little about $y$.
#
# </details>
#
# **3.** LoRA trains 6 % of the numbers. Why is a step not 16 times as fast?
#
# <details><summary>Answer</summary>
#
# Forward and $dx$ go through all weights, trained or not. Only $dW$ is saved, a third of the operations at best; then
# $A$ and $B$ add some small products.
#
# </details>
#
# **4.** Which of the four parts of memory depends on the batch size, and what follows for the choice between LoRA and
# full fine-tuning on a small machine?
#
# <details><summary>Answer</summary>
#
# The activations alone. If a batch of one fits with LoRA and not with full fine-tuning, LoRA makes the difference. If
# both fit and you want a larger batch, it makes little; compute the batch in turns (`accumulation`) instead.
#
# </details>
