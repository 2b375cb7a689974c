# %% [markdown]
# # 13. A base in four bits
#
# **Goal.** QLoRA by hand: where NF4's 16 levels come from, what rounding to them costs, why the gradients of $A$ and
# $B$ stay exact, and what to merge an adapter into that was trained beside rounded weights.
#
# **Minutes.** 50
#
# **Prerequisites.** [3. LoRA by hand](03_lora_by_hand.ipynb) and [6. Merging, switching, many
# tasks](06_merging_and_switching.ipynb).
#
# **Next.** This is the last notebook. [The exercises](exercises/README.md) are left: `minilora exercises start`.

# %%
# %matplotlib inline
import numpy as np

from minilora import LoRAConfig, apply_lora, load_bundled, plots
from minilora.data import load_task
from minilora.layers.quantized import pack_nf4, pack_q4_1, pack_q8_0
from minilora.methods import lora_layers, merge_lora, quantization_of, quantize, remove_lora
from minilora.methods.lora.loftq import loftq
from minilora.methods.quantization import block_linears
from minilora.ops import dequantize_nf4, dequantize_scales, nf4_levels, quantize_nf4, quantize_scales
from minilora.training import AdamW, train_step

rng = np.random.default_rng(0)

# %% [markdown]
# ## Sixteen levels for a Gaussian
#
# LoRA's gradients and its optimizer's state take little memory; what is left is the frozen $W$. It is never changed, so
# it need not be stored in a form that can be changed a little: four bits a number are enough to choose one of 16
# levels. Dettmers et al. ([2023](https://arxiv.org/abs/2305.14314)) ask which levels those should be.
#
# A code says most where all of its values are equally likely. Trained weights look like a Gaussian, and with $Q$ its
# inverse distribution function, equal steps of probability are equal steps of $p$ in $Q(p)$. Zero must be a level, so
# each side is cut by itself: 8 levels above 0, 7 below. $Q(1)$ is infinite; the outermost $p$ is half a step from the
# end. Everything is then divided by the largest, and a block of 64 weights by its own largest number, its *absmax*:
#
# $$w_i = \text{absmax} \cdot \text{level}_{q_i} .$$

# %%
levels = np.array(nf4_levels())
places = np.arange(16)
plots.curves({"NF4": (places, levels), "equal steps": (places, np.linspace(-1, 1, 16))}, x="code q", y="level")

# %% [markdown]
# The steps are small near 0, where most weights are, and large at the ends. Is a weight of a language model a Gaussian
# number, at all? Here is how often each code occurs in one matrix of the bundled decoder. If the weights were Gaussian
# and every block had the same absmax, the 16 numbers would be about alike; equal steps would use the outer codes hardly
# ever.

# %%
base = load_bundled()
W = block_linears(base)["blocks.1.mlp.fc_in"].W.data  # (O, I)
codes, absmax = quantize_nf4(W)
q = np.stack([codes >> 4, codes & 15], axis=1).reshape(-1)  # two numbers a byte, the first in the high half
shares = np.bincount(q, minlength=16) / q.size
plots.bars({f"{level:+.3f}": 100 * share for level, share in zip(levels, shares)}, x="percent", form="{:.1f}")

# %% [markdown]
# ## What rounding costs
#
# Between two levels that are $s$ apart, the error is anything from $-s/2$ to $s/2$, with variance $s^2/12$. So the
# error is largest for large weights, which are few. How the errors are distributed, in units of the weights' own
# deviation, beside those of Q4_1, llama.cpp's four bits: 16 *equal* steps between the smallest and the largest number
# of 32, which takes two float16 numbers for every 32 weights instead of one byte for every 64.


# %%
def error_counts(pack):
    """How often an error of W falls into each of 60 bins, in deviations of W."""
    errors = (pack(W).values() - W).reshape(-1) / W.std()
    counts, edges = np.histogram(errors, bins=np.linspace(-0.4, 0.4, 61))
    return (edges[1:] + edges[:-1]) / 2, counts / errors.size


plots.curves({"NF4": error_counts(pack_nf4), "Q4_1": error_counts(pack_q4_1)}, x="error / deviation of W", y="share")

# %%
for name, pack in (("NF4", pack_nf4), ("Q4_1", pack_q4_1), ("Q8_0", pack_q8_0)):
    packed = pack(W)
    bits = 8 * sum(array.nbytes for array in packed.arrays) / W.size
    error = np.linalg.norm(packed.values() - W) / np.linalg.norm(W)
    print(f"{name:5} {bits:5.2f} bits a number, error {100 * error:5.2f} % of ||W||")

# %% [markdown]
# ## The scales, quantised too
#
# A float32 absmax for 64 numbers is half a bit a number. **Double quantisation** stores it in 8 bits: 256 scales share
# one more float32, after their mean was taken away. (They are all positive and close to each other. What is left is
# small, and of both signs.) That makes $4 + 8/64 + 32/(64 \cdot 256) = 4.127$ bits. What do the weights lose by it?

# %%
once = dequantize_nf4(codes, absmax, W.shape)
twice = dequantize_nf4(codes, dequantize_scales(quantize_scales(absmax)), W.shape)
for name, W_q in (("float32 scales", once), ("8-bit scales", twice)):
    print(f"{name:15} {100 * np.linalg.norm(W_q - W) / np.linalg.norm(W):.3f} %")

# %% [markdown]
# ## Exact gradients beside inexact weights
#
# Write $W_q$ for the codes and their scales (here q is for quantised, not for query), and $\text{dequant}(W_q)$ for the
# numbers that they stand for. The codes are constants. So the model is $y = x\, \text{dequant}(W_q)^\top + \ldots$, a
# function like any other of $A$ and $B$, and nothing has to be approximated in its backward: $dx = dy\,
# \text{dequant}(W_q) + \ldots$ A `Linear` drops the float32 matrix after the forward, and computes it again for the
# backward: one at a time exists. Beside it, a model that holds the same numbers in float32 all the time: is anything
# different?

# %%
four, same = load_bundled(), load_bundled()
quantize(four, bits=4)
for path, layer in block_linears(same).items():
    layer.W.data = block_linears(four)[path].W.data
for model in (four, same):
    apply_lora(model, LoRAConfig(rank=4, alpha=8, targets=("q_proj", "v_proj")), rng=np.random.default_rng(1))
told = quantization_of(four)
print(f"{told['bytes'] / 1e6:.1f} MB instead of {told['bytes_float32'] / 1e6:.1f} MB; the matrices: {told['matrices']}")

# %%
task = load_task("mini-e2e", length=four.longest_input)
batch = task.sample_batch(rng, 4)
for model in (four, same):
    loss, cache = model.loss(batch)
    model.backward_loss(1.0, cache)
pairs = list(zip(four.trainable_parameters(), same.trainable_parameters()))
print("dA and dB equal to the bit:", all(np.array_equal(a.grad, b.grad) for a, b in pairs))

# %% [markdown]
# ## What to merge into
#
# **Users ask** what the adapter belongs to now ([qlora 28](https://github.com/artidoro/qlora/issues/28), [peft
# 2321](https://github.com/huggingface/peft/issues/2321)). The adapter was trained beside $\text{dequant}(W_q)$, and has
# never seen $W$. There are three candidates: add $\Delta W$ to $\text{dequant}(W_q)$; quantise that sum again, to be
# small again; or add $\Delta W$ to the original $W$, which is a third model that nobody has trained. Some steps of
# training first:

# %%
optimizer = AdamW(four.trainable_parameters(), lr=3e-3)
losses = [float(train_step(four, optimizer, task.sample_batch(rng, 4), lr=3e-3)[0]) for _ in range(20)]
print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")
trained, _ = four.forward(batch.ids)  # the reference
original = load_bundled()
for path, layer in lora_layers(four).items():
    block_linears(original)[path].W.data += layer.delta_W()

# %%
logits = {"into the original W": original.forward(batch.ids)[0]}
merge_lora(four)
logits["into dequant(W_q)"] = four.forward(batch.ids)[0]
remove_lora(four)
quantize(four)  # the merged matrices; the others are in four bits already
logits["and quantised again"] = four.forward(batch.ids)[0]
distance = {way: np.linalg.norm(y - trained) / np.linalg.norm(trained) for way, y in logits.items()}
plots.bars(distance, x="distance of the logits from those of training", form="{:.1e}", log=True)

# %% [markdown]
# Merging into $\text{dequant}(W_q)$ is what was trained, up to rounding. Quantised again, what was learned is rounded
# away, except where $\Delta W$ is larger than half a step of the grid. And the original $W$: as far away as the
# quantisation of *all* matrices is, for they are all different now. That distance says that it is another model, and
# not that it is a worse one: its weights are the better ones. Which of the two does the task better is a measurement.
# [On SmolLM2](../docs/models.md), after 150 steps, 70 % of the sentences are right as trained, 56 % with the original
# $W$, and 2 % when quantised again.
#
# ## A start that knows the error
#
# $B = 0$ starts at the quantised model. **LoftQ** (Li et al., [2023](https://arxiv.org/abs/2310.08659)) starts closer
# to the original. It takes two steps in turn: $R$ becomes $W - BA$, rounded to four bits; and $BA$ becomes the best
# approximation of rank $r$ of what is missing, $W - R$ ([notebook 1](01_rank.ipynb)).

# %%
alone = np.linalg.norm(W - pack_nf4(W).values())
start = {f"r = {r}": loftq(W, r, 1.0, pack_nf4).errors for r in (4, 16, 64)}
steps = np.arange(6)
lines = {name: (steps, [1, *np.array(errors) / alone]) for name, errors in start.items()}
plots.curves(lines, x="step", y="error, beside NF4 alone")

# %% [markdown]
# Rounding errors have no preferred direction: their singular values are all of about one size, and a small rank takes
# a small part of them away. `apply_loftq(model, config, bits=4)` quantises and starts so.
#
# ## In four bits, it still answers
#
# The adapter that comes with minilora was trained in float32. Next to the same model in four bits it has to get along
# with the rounding. Three lists of the test set:

# %%
from minilora import generate, load_adapter
from minilora.data import EOT
from minilora.methods import bundled_adapter

small = load_bundled("decoder")
quantize(small, bits=4)
load_adapter(small, bundled_adapter(), other_base=True)
prompts, _ = task.prompts("test", 3)
for prompt, answer in zip(prompts, generate(small, prompts, max_tokens=120, stop=EOT)):
    print(task.tokenizer.decode(prompt).strip(), "\n    ->", task.tokenizer.decode(answer).strip())

# %% [markdown]
# Every sentence says what its list says. (`other_base=True`: the base is not the one that the adapter was trained
# next to, and `load_adapter` would warn.)
#
# ## On a GPU
#
# The table look-up and the multiplication by absmax are array functions, and run where the codes are. What a GPU would
# change is the reason to do it: its memory is small, and a model of 7 billion numbers takes 28 GB in float32, and 3.6
# GB in 4.127 bits.
#
# ## Questions
#
# **1.** Why is $dW$ not needed, and what would it be for a code?
#
# <details><summary>Answer</summary>
#
# $W$ is frozen. And a code is one of 16 values: it has no neighbours in between, so nothing can be differentiated
# with respect to it.
#
# </details>
#
# **2.** Blocks are 64 numbers that follow one another in a row. One weight in a block is a hundred times as large as
# the others. What happens to these?
#
# <details><summary>Answer</summary>
#
# They are divided by the large one's size, and nearly all fall on the level 0. One outlier costs its block nearly
# everything, which is why blocks are small.
#
# </details>
#
# **3.** Somebody trains beside a model in 4 bits and loads the adapter beside the model in float32. The loss is about
# the same. Is everything all right?
#
# <details><summary>Answer</summary>
#
# It is another model than the one that was measured. It may be as good; `load_adapter` takes it, and warns.
#
# </details>
