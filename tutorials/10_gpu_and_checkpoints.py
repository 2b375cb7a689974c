# %% [markdown]
# # 10. On a GPU, and on real checkpoints
#
# **Goal.** See what changes on a GPU, and what does not; share a batch among machines, and count what they send; read
# a GPT-2 as Hugging Face stores it; write an adapter that PEFT reads, read one back, and know the four places where
# such files go wrong.
#
# **Minutes.** 65
#
# **Prerequisites.** [4. A transformer, forward and backward](04_a_transformer.ipynb) and [6. Merging, switching, many
# tasks](06_merging_and_switching.ipynb).
#
# **Next.** [11. After LoRA](11_after_lora.ipynb).
# To write it yourself: [exercise 13](exercises/README.md), `minilora exercises start 13`.

# %%
# %matplotlib inline
import json
import tempfile
import timeit
from pathlib import Path

import numpy as np

from minilora import GPTConfig, LoRAConfig, apply_lora, load_bundled, plots
from minilora.arrays.backend import get_xp, gpu_available, to_numpy

np.set_printoptions(precision=3, suppress=True)
files = tempfile.TemporaryDirectory()
folder = Path(files.name)

# %% [markdown]
# ## On a GPU: what changes, and what does not
#
# CuPy is a library with NumPy's functions, whose arrays live in the memory of an NVIDIA GPU. minilora has no switch
# for it. Every function asks the arrays that it is given where they live,
#
#     xp = get_xp(x=x, W=W)        # the module numpy, or the module cupy
#     y = xp.exp(x)
#
# and so the device is chosen **once**, where the weights are made. This notebook runs without a GPU; where there is
# one, it uses both.

# %%
devices = ["cpu", "gpu"] if gpu_available() else ["cpu"]
models = {device: load_bundled("decoder", device=device) for device in devices}
for device, model in models.items():
    print(f"{device}: the weights are arrays of {get_xp(model.wte.W.data).__name__}")
if not gpu_available():
    print("No GPU here (CuPy is missing, or sees none): everything below runs on the CPU.")

# %% [markdown]
# The forward, the backward, LoRA, merging, training: the same lines. What does change:
#
# - **Results.** On a CPU they repeat to the bit. A GPU's agree with them to rounding ($10^{-4}$ of the logits in
#   float32), for sums run in another order.
# - **Random numbers.** The same: drawn by a NumPy generator on the host, then moved, so that both start from the same
#   bits.
# - **Small operations.** On a CPU they take next to no time. On a GPU each has to be started, which takes some 5
#   microseconds however small it is; so formulas of several lines are put into one program for the GPU, a **kernel**
#   (`minilora/arrays/kernels.py`).
# - **Looking at a number.** Free on a CPU. On a GPU it waits until all that came before is finished; so the training
#   loop looks once a step.
# - **Attention.** On a CPU in tiles that fit the processor's cache, and none above the diagonal. On a GPU in kernels
#   that never store the scores.
# - **A batch.** Shared out among the cores of a CPU; whole on a GPU.
#
# Token ids are checked on the host, then moved to the model. The time of a forward pass, for texts of growing length:


# %%
def forward_ms(model, T):
    """The smallest of five times of a forward pass of one text of T bytes, in milliseconds."""
    ids = model.to_model(np.full((1, T), 65))  # (N, T)
    return 1e3 * min(timeit.repeat(lambda: to_numpy(model.forward(ids)[0]), number=1, repeat=5))


# %%
lengths = [1, 4, 16, 64, 256]
times = {device: (lengths, [forward_ms(model, T) for T in lengths]) for device, model in models.items()}
plots.curves(times, x="bytes in the text, $T$", y="milliseconds", log="xy")

# %% [markdown]
# On a CPU the time soon grows with the length: the work is what counts. On a GPU the line is flat for long: what
# counts is how many operations have to be **started**. (That is where LoRA beside $W$ costs most in relation, and
# merging gains most.)

# %%
ids = np.frombuffer(b"The function returns", dtype=np.uint8).astype(int)[None]  # (N, T)
logits = {device: to_numpy(model.forward(model.to_model(ids))[0]) for device, model in models.items()}
for device in devices[1:]:
    difference = np.linalg.norm(logits[device] - logits["cpu"]) / np.linalg.norm(logits["cpu"])
    print(f"{device} against cpu, relative difference of the logits: {difference:.0e}")
print("logits", logits["cpu"].shape)

# %% [markdown]
# ## On several machines: who sends what
#
# If one machine is too slow, several share each batch: a machine, or a **rank**, computes some of its rows. (The word
# is MPI's, and has nothing to do with the rank of a matrix.) All hold the same weights, so what one needs from the
# others is their gradients, and nothing else. The loss is a mean over the $M$ tokens of the batch that count, and a
# mean can be put together from parts: with $M_i$ of them in the rows of rank $i$,
#
# $$\frac{1}{M} \sum_{m} \ell_m = \sum_i \frac{M_i}{M} \left( \frac{1}{M_i} \sum_{m \in i} \ell_m \right),
# \qquad \text{and so} \qquad \nabla = \sum_i \frac{M_i}{M} \nabla_i .$$
#
# We play two ranks in one process. The batch is of sentences of several lengths, so that $M_1 \ne M_2$:

# %%
from minilora.data import load_task
from minilora.training import loss_and_backward
from minilora.training.objective import split_batch

model = load_bundled("decoder", dtype="float64")
apply_lora(model, LoRAConfig(rank=4, alpha=8, targets=("q_proj", "v_proj")), rng=np.random.default_rng(0))
batch = load_task("mini-e2e", length=256).sample_batch(np.random.default_rng(2), 5)  # ids (N, T), N = 5 rows
shards = split_batch(batch, 2)  # (2, T) and (3, T)
print("rows", [len(shard.ids) for shard in shards], " tokens that count", [shard.n_targets for shard in shards])


# %%
def gradient_of(*parts):
    """The gradient of all A and B in one row, summed over the parts, each a batch with its weight."""
    model.zero_grad()
    for part, weight in parts:
        loss_and_backward(model, part, weight)
    return np.concatenate([p.grad.ravel() for p in model.trainable_parameters()])  # (|Theta|,)


# %%
whole = gradient_of((batch, 1.0))  # (|Theta|,)
ours = gradient_of(*((shard, shard.n_targets / batch.n_targets) for shard in shards))  # (|Theta|,)
means = gradient_of(*((shard, 1 / 2) for shard in shards))  # (|Theta|,)
for name, sum_of_ranks in {"weights M_i / M": ours, "mean of the ranks' means": means}.items():
    print(f"{name:25} off by {np.linalg.norm(sum_of_ranks - whole) / np.linalg.norm(whole):.0e}")

# %% [markdown]
# The first is the gradient, to rounding. The second is what you get if each rank takes the mean of its own rows, and
# these means are averaged: it looks like training, the loss falls, and it is **another objective**, in which a token
# weighs more, the fewer tokens its rank has.
#
# So in each step, each rank puts its gradients into one array, a *bucket*; the buckets are summed, and every rank gets
# the sum. That is called an **allreduce**. What is sent is as large as **what is trained**, whatever the size of the
# model. The buckets of the bundled decoder, as they are sent:

# %%
from minilora import METHODS, apply_method
from minilora.distributed import SINGLE_PROCESS
from minilora.training.bucket import Bucket

kilobytes = {}
for name in ("lora", "bitfit", "adapter-h", "prefix-layer", "top-k", "full"):
    model = load_bundled("decoder")
    apply_method(model, METHODS[name], rng=np.random.default_rng(0))
    kilobytes[name] = Bucket(model.trainable_parameters(), SINGLE_PROCESS).nbytes / 1e3
plots.bars(kilobytes, x="kilobytes that a step has summed", log=True)

# %% [markdown]
# How is it summed? If all sent their buckets to one rank, that one would have to receive all of them. Better is a
# **ring**: each of $n$ ranks cuts its bucket, of $S$ bytes, into $n$ pieces. In $n - 1$ rounds, each gives one piece to
# its neighbour, who adds its own, until every rank holds one piece of the sum; and in $n - 1$ more rounds these are
# handed around. Each rank sends
#
# $$2\,(n - 1)\,\frac{S}{n} = 2\,\frac{n - 1}{n}\,S < 2 S \quad\text{bytes},$$
#
# however many they are. On paper, for GPT-3 and the paper's LoRA, in float16, among eight machines:

# %%
from minilora.accounting import ARCHITECTURES, adaptation, message_bytes, ring_bytes

gpt3 = ARCHITECTURES["gpt3-175b"]
methods = {"LoRA": adaptation(gpt3, "lora", rank=4, targets=("q_proj", "v_proj")), "full": adaptation(gpt3, "full")}
for name, method in methods.items():
    sent = ring_bytes(message_bytes(method.trainable, bytes_each=2), 8)
    print(
        f"{name:5} {method.trainable:>15,} parameters: each sends {sent / 1e9:7.3f} GB per step, "
        f"{sent / 1.25e9:6.2f} s at 10 Gbit/s"
    )

# %% [markdown]
# A twentieth of a second, or eight minutes, at each step. (Full fine-tuning of a model of that size is therefore
# done on machines with networks that are about a hundred times as fast, and part of the sending is hidden behind the
# backward pass.)
#
# In minilora all this is one word more on the command line,
#
#     mpiexec -n 4 minilora finetune --rank 4 --alpha 8 --targets q_proj,v_proj --out runs/mine
#
# with mpi4py installed (in a clone, `pip install -e ".[mpi]"`, which brings mpiexec along). Every rank draws the same
# batch with the same generator, and takes its own rows; so the losses are those of one process, and a run that was
# stopped continues with any number of ranks. The first rank alone writes. In a program of your own, it is one argument:
#
#     from minilora.distributed import join
#     Trainer(model, sample_batch, config, ranks=join())
#
# `join()` finds the job that the process was started in. This notebook was not started by mpiexec, so it is alone, and
# its allreduce is the identity:

# %%
from minilora.distributed import join

ranks = join()
print(f"rank {ranks.rank} of {ranks.size}")

# %% [markdown]
# ## GPT-2, as it is stored
#
# A checkpoint of GPT-2 is a folder with `config.json` and `model.safetensors`. The weights are those of the drawing
# in [notebook 4](04_a_transformer.ipynb), with two differences. $W_q$, $W_k$ and $W_v$ lie side by side in one
# matrix, `c_attn`; and every matrix of the blocks is stored **transposed**, (in, out) instead of (out, in), because
# GPT-2's first code computed $y = xW + b$. To see it without a download, we write such a folder ourselves: the names
# and shapes of a tiny GPT-2's tensors, and random numbers in them.

# %%
from safetensors.numpy import load_file, save_file

from minilora.interop.gpt2 import gpt2_sources

C, L, V, T = 4, 2, 11, 8  # d_model, n_layer, vocab_size, n_positions
rng = np.random.default_rng(0)
sources = gpt2_sources(GPTConfig(vocab_size=V, n_positions=T, n_layer=L, d_model=C, n_head=2))
tensors = {source.tensor: rng.standard_normal(source.shape) for source in sources}
for name in ("h.0.attn.c_attn.weight", "h.0.attn.c_proj.weight", "h.0.mlp.c_fc.weight", "h.0.mlp.c_proj.weight"):
    print(f"{name:24} {tensors[name].shape}")

# %%
from minilora.interop import load_gpt2

sizes = {"vocab_size": V, "n_positions": T, "n_embd": C, "n_layer": L, "n_head": 2}
config = {"model_type": "gpt2", "activation_function": "gelu_new", **sizes}
(folder / "gpt2").mkdir()
(folder / "gpt2/config.json").write_text(json.dumps(config))
save_file(tensors, folder / "gpt2/model.safetensors")
model = load_gpt2(folder / "gpt2", dtype="float64")
ids = rng.integers(0, V, (2, 6))  # (N, T)
print("logits", model.forward(ids)[0].shape)

# %% [markdown]
# `load_gpt2("path/to/gpt2")` does the same with the real ones, of which the smallest is half a gigabyte. Here is
# `c_attn` of our tiny one next to the three matrices that come out of it:

# %%
attn = model.blocks[0].attn
stored = tensors["h.0.attn.c_attn.weight"]  # (C, 3 C): (in, out)
print("W_q is the first third, transposed:", np.array_equal(attn.q_proj.W.data, stored[:, :C].T))
plots.matrices(
    {"c_attn (in, out)": stored, "$W_q$": attn.q_proj.W.data, "$W_k$": attn.k_proj.W.data, "$W_v$": attn.v_proj.W.data},
    ("→",),
)

# %% [markdown]
# ### fan_in_fan_out
#
# PEFT and loralib keep the matrix as it is stored, and carry a flag, `fan_in_fan_out`, that says "transposed".
# **Users ask** what it is ([peft 315](https://github.com/huggingface/peft/issues/315),
# [324](https://github.com/huggingface/peft/issues/324)), and it has been forgotten more than once: in PiSSA
# ([2103](https://github.com/huggingface/peft/issues/2103)), in CorDA
# ([2991](https://github.com/huggingface/peft/issues/2991)), and in DoRA's unmerging
# ([3531](https://github.com/huggingface/peft/issues/3531)), where square weights are changed **silently**. The last
# word is the important one. A forgotten transpose raises an error if the matrix is not square, and none if it is:

# %%
x = rng.standard_normal((3, C))  # (N, C)
right, forgotten = attn.q_proj.W.data, attn.q_proj.W.data.T  # (O, I), and with O = I also "(O, I)"
wrong = x @ forgotten.T  # (N, O)
print("no error, and off by", f"{np.linalg.norm(wrong - x @ right.T) / np.linalg.norm(x @ right.T):.0%}")

# %% [markdown]
# minilora has one layout, (out, in), in all of the package; the transposition ends in the loader, on one line for
# each kind of file.
#
# ## An adapter for PEFT
#
# Now LoRA on $W_q$ and $W_v$, with a $B$ that is not zero, and out it goes. An adapter of PEFT is a folder with two
# files:

# %%
from minilora.interop import load_peft, save_peft

apply_lora(model, LoRAConfig(rank=2, alpha=3, targets=("q_proj", "v_proj")), rng=rng)
for p in model.trainable_parameters():
    p.data[...] = rng.standard_normal(p.data.shape)
save_peft(model, folder / "adapter")
written = json.loads((folder / "adapter/adapter_config.json").read_text())
for key in ("r", "lora_alpha", "target_modules", "fan_in_fan_out", "use_rslora"):
    print(f"{key:14} {written[key]}")

# %% [markdown]
# Rank 4 and alpha 6, where we said 2 and 3! The reason is `c_attn`. In PEFT it is **one** layer with one $A$ and one
# $B$, so $q$, $k$ and $v$ share $A$ ([peft 706](https://github.com/huggingface/peft/issues/706)), and $k$ is adapted
# as well. loralib had a special layer for this, `MergedLinear`, whose grouped convolution puzzles its readers ([LoRA
# 69](https://github.com/microsoft/LoRA/issues/69), [peft 258](https://github.com/huggingface/peft/issues/258)), and
# which PEFT dropped ([852](https://github.com/huggingface/peft/issues/852)). All it does is a block matrix. Our two
# adapters of rank 2 become one of rank 4, whose $B$ has zeros where $q$ must not see $v$'s features, and where $k$
# stands:

# %%
saved = load_file(folder / "adapter/adapter_model.safetensors")
A = saved["base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"]  # (2 r, C)
B = saved["base_model.model.transformer.h.0.attn.c_attn.lora_B.weight"]  # (3 C, 2 r)
plots.matrices({"lora_B: rows q, k, v": B, "lora_A: rows of q, of v": A}, ("@",))

# %% [markdown]
# Twice the rank with twice the alpha: scale = alpha / r is what it was. And the product is what we trained, with
# nothing for $k$:

# %%
delta = 6 / 4 * B @ A  # (3 C, C)
ours = [attn.q_proj.delta_W(), np.zeros((C, C)), attn.v_proj.delta_W()]  # (O, I) each
print("the same delta W:", np.allclose(delta, np.concatenate(ours)))

again = load_gpt2(folder / "gpt2", dtype="float64")
load_peft(again, folder / "adapter")
print("read back, the same logits:", np.allclose(again.forward(ids)[0], model.forward(ids)[0], atol=1e-12))

# %% [markdown]
# `load_peft` takes what PEFT itself has written as well; the tests hold minilora to logits of PEFT's, for GPT-2,
# RoBERTa and DeBERTa.
#
# ### A flag that nobody read
#
# With `use_rslora` the scale is $\alpha/\sqrt{r}$. The file holds the flag, not the scale; two serving engines did
# not read it ([TensorRT-LLM 1668](https://github.com/NVIDIA/TensorRT-LLM/issues/1668), [vLLM
# 6909](https://github.com/vllm-project/vllm/pull/6909)), and everything ran, with an adapter that was too weak by
# $\sqrt{r}$. We save such an adapter, and delete the flag:


# %%
def scale_in(path):
    """The scale of o_proj with the adapter in a folder."""
    fresh = load_gpt2(folder / "gpt2")
    load_peft(fresh, path)
    return fresh.blocks[0].attn.o_proj.scale


# %%
apply_lora(model, LoRAConfig(rank=4, alpha=8, targets=("o_proj",), rslora=True), rng=rng, name="rs")
save_peft(model, folder / "rs")
scales = {"with use_rslora": scale_in(folder / "rs")}
path = folder / "rs/adapter_config.json"
path.write_text(json.dumps(json.loads(path.read_text()) | {"use_rslora": False}))
scales["flag not read"] = scale_in(folder / "rs")
plots.bars(scales, x="scale of the adapter", form="{:.2f}")

# %% [markdown]
# Whatever in a configuration would change the computation, minilora computes or refuses by name. It ignores nothing
# that it does not know:

# %%
path.write_text(json.dumps(json.loads(path.read_text()) | {"use_qalora": True}))
try:
    scale_in(folder / "rs")
except ValueError as error:
    print(str(error).replace(str(folder), "..."))

# %% [markdown]
# ### The head that was not saved
#
# A classifier is a pretrained encoder with a **new** head. The head has to be trained along with $A$ and $B$; and if
# only $A$ and $B$ are saved, it comes back as random numbers, and the accuracy with it ([peft
# 310](https://github.com/huggingface/peft/issues/310), [577](https://github.com/huggingface/peft/issues/577),
# [876](https://github.com/huggingface/peft/issues/876)). In PEFT, `modules_to_save` must name it. In minilora a model
# knows which of its parts are new: every method trains them, and every file holds them.

# %%
from minilora import RobertaConfig, RobertaForClassification

sizes = {"vocab_size": 13, "n_positions": 10, "n_layer": 1, "d_model": 4, "n_head": 2}
classifier = RobertaForClassification(RobertaConfig(**sizes), rng)
apply_lora(classifier, LoRAConfig(rank=2, targets=("q_proj", "v_proj")), rng=rng)
save_peft(classifier, folder / "classifier")
for name, array in load_file(folder / "classifier/adapter_model.safetensors").items():
    print(f"{name.removeprefix('base_model.model.'):56} {array.shape}")

# %% [markdown]
# The first four lines are the head. What is in an adapter's file, counted:

# %%
counts = {"A and B": 0, "head": 0}
for name, array in load_file(folder / "classifier/adapter_model.safetensors").items():
    counts["A and B" if "lora_" in name else "head"] += array.size
plots.bars(counts, x="numbers in the file")

# %% [markdown]
# And if somebody takes the head out? It is refused, and not replaced by random numbers:

# %%
kept = load_file(folder / "classifier/adapter_model.safetensors")
kept = {name: array for name, array in kept.items() if "lora_" in name}
save_file(kept, folder / "classifier/adapter_model.safetensors")
try:
    load_peft(RobertaForClassification(RobertaConfig(**sizes), rng), folder / "classifier")
except ValueError as error:
    print(str(error).replace(str(folder), "..."))
files.cleanup()

# %% [markdown]
# ### And the one that comes back right
#
# Written as PEFT writes it, and read back as PEFT's: the adapter that comes with minilora still turns a list into a
# sentence.

# %%
from minilora import generate, load_adapter
from minilora.data import EOT, ByteTokenizer
from minilora.methods import bundled_adapter

there, back = load_bundled("decoder"), load_bundled("decoder")
load_adapter(there, bundled_adapter())
with tempfile.TemporaryDirectory() as folder:
    save_peft(there, folder)
    load_peft(back, folder)

# %%
prompt = ByteTokenizer().encode("name: Lemon Door; type: diner; price: low\n")
for name, model in ("minilora's file", there), ("PEFT's files", back):
    (answer,) = generate(model, [prompt], max_tokens=60, stop=EOT)
    print(f"{name:16}", ByteTokenizer().decode(answer).strip())

# %% [markdown]
# ## Questions
#
# **1.** A tiny model is slower on a GPU than on a CPU. Why?
#
# <details><summary>Answer</summary>
#
# Each operation has to be started, which takes some microseconds however small its arrays are. A tiny model has as
# many operations as a large one, and little work in each.
#
# </details>
#
# **2.** CPU and GPU results differ in the sixth digit. Which one is wrong?
#
# <details><summary>Answer</summary>
#
# Neither. Addition of floating-point numbers depends on the order, and a GPU adds in another one. Both are about
# equally far from the exact sum.
#
# </details>
#
# **3.** Which weights of a GPT-2 would not raise an error if a loader forgot to transpose them?
#
# <details><summary>Answer</summary>
#
# Those that are square: `attn.c_proj`, and $W_q$, $W_k$ and $W_v$ once they are cut out of `c_attn`. The MLP's
# matrices and `c_attn` as a whole would not fit.
#
# </details>
#
# **4.** PEFT's default for GPT-2 is LoRA on `c_attn` with rank $r$. Is that the paper's LoRA on $W_q$ and $W_v$ with
# rank $r$? Compare the numbers of parameters.
#
# <details><summary>Answer</summary>
#
# No: one $A$ of $r \times C$ is shared, and $B$, $3C \times r$, adapts $k$ as well. That is $4rC$ a block. Two
# adapters on $C \times C$ matrices have $2 \cdot 2rC = 4rC$, too. Equal counts, different models.
#
# </details>
#
# **5.** How would you notice that a served adapter lacks a factor of $\sqrt{r}$?
#
# <details><summary>Answer</summary>
#
# By comparing logits of a few prompts with those of the training code: they must agree to rounding. That the answers
# "look adapted" proves nothing; an adapter at half its strength does, too.
#
# </details>
#
# **6.** Two ranks, one of which has 10 tokens that count, and one 30. By how much does the mean of means misjudge a
# token of the first?
#
# <details><summary>Answer</summary>
#
# Its weight should be $1/40$. It is $\tfrac12 \cdot \tfrac{1}{10} = 1/20$, twice as much; a token of the second has
# $1/60$, two thirds of what it should have.
#
# </details>
