# %% [markdown]
# # 7. Which matrices, and which rank?
#
# **Goal.** Answer two questions that everybody asks who uses LoRA, in small: which weights to adapt, and with which
# rank. And learn to read such tables, the paper's 5 and 6 and one's own: what is a difference, and what is noise?
#
# **Minutes.** 45
#
# **Prerequisites.** [3. LoRA by hand](03_lora_by_hand.ipynb). What a mean and a standard deviation are.
#
# **Next.** [8. Subspaces](08_subspaces.ipynb)

# %%
# %matplotlib inline
import numpy as np

from minilora import LoRAConfig, apply_bitfit, apply_lora, load_bundled, plots, set_adapter
from minilora.accounting import adaptation, architecture_of, count_parameters, find_architecture
from minilora.data import load_task
from minilora.training import TrainConfig, Trainer, evaluate_loss

rng = np.random.default_rng(0)

# %% [markdown]
# ## A fair question
#
# Each block of a transformer has six weight matrices. Four belong to the attention: $W_q$ (queries), $W_k$ (keys),
# $W_v$ (values), $W_o$ (output). Two belong to the MLP: `fc_in` and `fc_out`. LoRA can adapt any of them. More matrices
# with the same rank $r$ are more parameters, so of course they can do more. To be fair, the number of parameters has to
# be the same: **the more matrices, the smaller $r$**. In GPT-3 ($d = 12288$, 96 blocks), at 18 million parameters:

# %%
gpt3 = find_architecture("gpt3-175b")
for rank, targets in (8, ("q_proj",)), (4, ("q_proj", "v_proj")), (2, ("q_proj", "k_proj", "v_proj", "o_proj")):
    print(f"r = {rank} on {', '.join(targets):32} {adaptation(gpt3, 'lora', rank=rank, targets=targets).trainable:,}")

# %% [markdown]
# ## The paper's table 5
#
# These are the accuracies, in percent, that the paper reports for GPT-3 with 18 million parameters on two tasks. It
# says that runs with other random numbers fluctuate by ± 0.5 on WikiSQL and ± 0.1 on MultiNLI.
#
# | | $W_q$ | $W_k$ | $W_v$ | $W_o$ | $W_q, W_k$ | $W_q, W_v$ | all four |
# |---|---|---|---|---|---|---|---|
# | $r$ | 8 | 8 | 8 | 8 | 4 | 4 | 2 |
# | WikiSQL | 70.4 | 70.0 | 73.0 | 73.2 | 71.4 | 73.7 | 73.7 |
# | MultiNLI | 91.0 | 90.8 | 91.0 | 91.3 | 91.3 | 91.3 | 91.7 |
#
# The paper concludes: it is better to adapt more matrices with a small rank than one with a large rank.
#
# ### How much is chance?
#
# Suppose that **all seven were equally good**, and differed by chance alone, with the standard deviation of 0.5 (that
# is how we read "± 0.5"). How far would the best be above the worst? We draw seven numbers ten thousand times:


# %%
def spread_of(n, deviation):
    """Largest minus smallest of n random numbers, ten thousand times."""
    drawn = deviation * rng.standard_normal((10_000, n))
    return np.ptp(drawn, axis=1)  # (10000,)


for task, deviation, seen in ("WikiSQL", 0.5, 73.7 - 70.0), ("MultiNLI", 0.1, 91.7 - 90.8):
    chance = spread_of(7, deviation)
    rare = np.quantile(chance, 0.99)
    print(f"{task}: seen {seen:.1f}; by chance {chance.mean():.1f} on average, above {rare:.1f} in 1 % of the draws")

# %% [markdown]
# So the table is not chance: what is seen is far more. **Where** the differences are is another question. Two numbers
# with deviation $s$ each differ by chance with deviation $\sqrt2\, s$, since both fluctuate. On WikiSQL that is 0.7, so
# that a difference below some 1.4 says little:
#
# - $W_v$, $W_o$, $W_q + W_v$ and all four (73.0 to 73.7) cannot be told apart.
# - $W_q$ and $W_k$ alone, or together (70.0 to 71.4), are clearly worse.
#
# "$W_v$ or $W_o$ has to be among them" is what these data say, and it is rather less than "two are better than one".
# MultiNLI, with its smaller noise, adds that all four are best there (91.7 against 91.3, with a noise of 0.14).
#
# ## The paper's table 6
#
# Now the rank, with $W_q$ alone, with $W_q$ and $W_v$, and with all four:

# %%
ranks = 1, 2, 4, 8, 64
wikisql = {"W_q": (68.8, 69.6, 70.5, 70.4, 70.0), "W_q, W_v": (73.4, 73.3, 73.7, 73.8, 73.5)}
wikisql["all four"] = 74.1, 73.7, 74.0, 74.0, 73.9
plots.curves({label: (ranks, scores) for label, scores in wikisql.items()}, x="rank $r$", y="WikiSQL (%)", log="x")

# %%
for label, scores in wikisql.items():
    chance = np.mean(spread_of(5, 0.5) >= np.ptp(scores))
    print(f"{label:9} seen {np.ptp(scores):.1f} from best to worst; chance gives that in {chance:.0%} of the draws")

# %% [markdown]
# With $W_q$ and $W_v$, and with all four, the five ranks differ **less** than five equal methods would by luck.
# So rank 1 may be as good as rank 64; the table does not contradict it. It also cannot prove it, for a true difference
# of half a point would hide in such noise. For $W_q$ alone, rank 1 looks worse, but chance cannot quite be excluded.
#
# The paper itself warns, in a footnote, that a small rank will not do for every task: a task in another language than
# that of the pretraining may well need all of $W$.
#
# ## A table of one's own
#
# Let us make such a table, tiny: the decoder of the package, its task of turning attributes into sentences, eight steps
# of training for each run, and **three seeds** for each setting. Of course eight steps are hardly a training. But all
# questions of method come up, and you can see the answers within a minute.

# %%
ATTENTION = "q_proj", "k_proj", "v_proj", "o_proj"
PLACES = {  # by label: the rank, and which matrices
    "W_q, r = 8": (8, ("q_proj",)),
    "W_v, r = 8": (8, ("v_proj",)),
    "W_q, W_v, r = 4": (4, ("q_proj", "v_proj")),
    "all four, r = 2": (2, ATTENTION),
    "fc_in, r = 3": (3, ("fc_in",)),
}

# %%
shape = architecture_of(load_bundled("decoder").config)
for label, (rank, targets) in PLACES.items():
    print(f"{label:20} {adaptation(shape, 'lora', rank=rank, targets=targets).trainable:,} parameters")

# %% [markdown]
# The MLP's `fc_in` is $768 \times 192$, so that no rank gives exactly the same number; 3 comes closest from below.
#
# One seed decides three things: how $A$ is drawn, which examples come, and in which order. We use the same three seeds
# for every setting. Then all settings see the same examples, and luck with the examples is shared by all.

# %%
task = load_task("mini-e2e", length=256, n_train=300, n_held_out=8)


def trained_loss(rank, targets, seed, lr=1e-2):
    """The held-out loss after eight steps, in nats per byte; lower is better."""
    model = load_bundled("decoder")
    apply_lora(model, LoRAConfig(rank=rank, alpha=16, targets=targets), rng=np.random.default_rng(seed))
    config = TrainConfig(steps=8, lr=lr, seed=seed)
    Trainer(model, lambda rng: task.sample_batch(rng, 2), config).run(progress=False)
    return evaluate_loss(model, task.batches("valid"))


SEEDS = range(3)
places = {label: [trained_loss(rank, targets, seed) for seed in SEEDS] for label, (rank, targets) in PLACES.items()}

# %%
print(f"before training: {evaluate_loss(load_bundled('decoder'), task.batches('valid')):.2f}")
plots.by_seed(places, x="held-out loss (lower is better)")

# %% [markdown]
# From seed to seed, the loss varies by a few hundredths. So there is no doubt about $W_q$ alone: in eight steps it has
# learned least, and it is the worst in the paper's table too, next to $W_k$. $W_v$ alone, and $W_q$ with $W_v$, differ
# by less than the seeds do; about them this picture says nothing. All four are somewhat better, and `fc_in`, which the
# paper did not try, is clearly better, with fewer parameters.
#
# ### Pairs
#
# Seeds of the same number belong together: they saw the same examples. So instead of comparing means, look at the
# **difference for each seed**. What the examples have done to all settings alike drops out. Against $W_q$ and $W_v$,
# the paper's choice:

# %%
reference = np.array(places["W_q, W_v, r = 4"])  # (seeds,)
for label, losses in places.items():
    difference = np.array(losses) - reference  # (seeds,)
    print(f"{label:20} {difference.mean():+.3f}   seeds:", "  ".join(f"{d:+.3f}" for d in difference))

# %%
plots.by_seed(places, x="held-out loss (lower is better)", joined=True)

# %% [markdown]
# What counts is a difference's size compared with how much **it** varies from seed to seed. All four matrices against
# $W_q$ and $W_v$: a gain in each seed, and the picture shows why pairs help: the lines run side by side, so that the
# differences vary less than the losses. $W_v$ alone against $W_q$ and $W_v$: a little worse in each seed, which the
# losses by themselves did not show. With three seeds it remains a hint: three coins all show heads one time in eight.
#
# ### Ranks
#
# The same with $W_q$ and $W_v$ and other ranks. We keep alpha at 16, so that the scale is $16 / r$
# ([notebook 3](03_lora_by_hand.ipynb): then one learning rate should do for all).

# %%
by_rank = {rank: [trained_loss(rank, ("q_proj", "v_proj"), seed) for seed in SEEDS] for rank in (1, 64)}
by_rank = {1: by_rank[1], 4: places["W_q, W_v, r = 4"], 64: by_rank[64]}
plots.by_seed({f"r = {rank}": losses for rank, losses in by_rank.items()}, x="held-out loss (lower is better)")

# %% [markdown]
# Rank 1 is the worst with each seed. But look at the sizes: most of what the others have gained since the start, rank 1
# has gained as well, with a quarter and with a sixty-fourth of their parameters. Between 4 and 64 the seeds do not
# agree. Had we run the first seed alone, we would have said that rank 64 is too much; with the second, the opposite.
#
# In a real language model, SmolLM2, adapted for a hundred steps with three seeds, the loss on unseen examples falls
# from 0.169 nats per byte at rank 1 to 0.158 at 4 and 0.151 at 16, and is 0.151 at 64 as well. (It is
# `minilora reproduce table18 --model smollm2`.) In the paper's table 18, of GPT-2, it stops falling at rank 16, too.
#
# ### What such a table cannot say
#
# - **The learning rate was not tuned.** Each setting has its own best one; if they all get that of one setting, this
#   setting wins. It is the most common flaw of comparisons. (That includes full fine-tuning.)
# - **Eight steps measure who starts fast**, not who ends well.
# - **The best of many is lucky.** Whoever tries twenty settings and reports the best one on the same examples has
#   chosen its luck along with it. Choose on validation examples, report on test examples.
# - **One model, one task.** Then it is a story about them.
#
# The tables in full, with 1,200 steps per run, a learning rate chosen for each setting on validation data, and
# verdicts on the paper's claims, are made by
#
#     minilora reproduce table5
#     minilora reproduce table6
#
# and shown among [the figures](../figures/README.md). They adapt an encoder, to another task. There $W_o$ alone is the
# best with each seed, two points of accuracy above $W_q$ with $W_v$, and the other choices can hardly be told apart:
# one model, one task.
#
# (`minilora reproduce list` shows which experiments there are; with `--quick` they are done in minutes, and mean less.)
#
# ## Which modules, users ask
#
# The paper adapts attention only, "for simplicity and parameter-efficiency". Should one? Users have asked [which
# modules to target](https://github.com/huggingface/peft/issues/735), and PEFT's maintainers have compared the two at
# [equal numbers of parameters](https://github.com/huggingface/peft/pull/2845), with the MLP ahead by 51.3 % to 48.2 %.
# "LoRA Without Regret" (Thinking Machines, 2025) found the MLP ahead as well, in larger experiments, and so does our
# own tiny one, `minilora reproduce regret`: code learned with the MLP alone costs 0.08 bits per byte less than with the
# attention alone, and with all layers another 0.06 less, always with as many parameters. All linear layers, with a
# small rank, are a good first choice when nothing is known. An error says what `targets` may name:

# %%
try:
    apply_lora(load_bundled("decoder"), LoRAConfig(targets=("query",)), rng=rng)
except ValueError as error:
    print(error)

# %% [markdown]
# The related trap is to train **something else than one thinks**. loralib's `mark_only_lora_as_trainable` freezes what
# is not LoRA's, but never [unfreezes](https://github.com/microsoft/LoRA/pull/125) what is: if $A$ and $B$ were frozen
# before, they stay so, and training runs, and learns nothing. Here `apply_lora` and `set_adapter` say of every
# parameter whether it is trained, whatever was before. So count, before you train:

# %%
model = load_bundled("decoder")
apply_bitfit(model)
print(f"biases:         {count_parameters(model).trainable:,}")
apply_lora(model, LoRAConfig(rank=4), rng=rng)
print(f"LoRA:           {count_parameters(model).trainable:,}, by formula {4 * 2 * 4 * (192 + 192):,}")
model.freeze()
print(f"all frozen:     {count_parameters(model).trainable:,}")
set_adapter(model, "default")
print(f"after choosing: {count_parameters(model).trainable:,}")

# %% [markdown]
# ## Where the hypothesis comes from: a dimension, not a rank
#
# That only little needs to change was known before LoRA, in another sense. [Li et al.
# (2018)](https://arxiv.org/abs/1804.08838) train a model in a **random subspace**: with $\theta_0$ for all of its
# numbers, they train only the $d$ numbers $\theta_d$ in
#
# $$\theta = \theta_0 + P\, \theta_d,$$
#
# where $P$ is drawn once and stays. The smallest $d$ that reaches 90 % of full fine-tuning's score is the task's
# **intrinsic dimension** $d_{90}$. [Aghajanyan et al. (2021)](https://aclanthology.org/2021.acl-long.568/) measure it
# for pretrained language models, and need 200 numbers for RoBERTa on MRPC.
#
# Here every entry of the chosen matrices moves with one number of $\theta_d$, with a random sign, divided by the root
# of how many do so: the columns of $P$ have length 1 and share no row, so that $P^\top P = 1$, and a step is as long in
# the model as in $\theta_d$. The gradient follows from $P$ being linear: $d\theta_d = P^\top d\theta$.

# %%
from minilora import apply_method
from minilora.methods import RandomSubspaceConfig, lora_layers

subspace = load_bundled("decoder")
apply_method(subspace, RandomSubspaceConfig(dimension=10, seed=0))  # W_q and W_v of every block
(theta,) = (p for p in subspace.parameters() if p.trainable)
theta.data[:] = rng.standard_normal(10)
changes = {path: layer.delta_W() for path, layer in lora_layers(subspace).items()}  # (O, I) each
length = np.sqrt(sum((change**2).sum() for change in changes.values()))
print(f"{theta.data.size} numbers move {sum(change.size for change in changes.values()):,} entries")

# %%
print(f"length of theta_d: {np.linalg.norm(theta.data):.4f}   of the change of all matrices: {length:.4f}")
print("rank of the change of W_q in block 2:", np.linalg.matrix_rank(changes["blocks.2.attn.q_proj"]), "of 192")

# %% [markdown]
# Ten numbers, and a change of full rank. With LoRA it is the other way round: a change of rank 1 takes $O + I = 384$
# numbers in each of these matrices. So the two hypotheses are not the same. A **dimension** counts the numbers that
# move the model; a **rank** counts the directions in which one matrix moves. LoRA's authors take the first as a reason
# to expect the second ("we hypothesize the updates to the weights also have a low intrinsic rank"); that is a guess,
# which tables like 6 have to test. `minilora reproduce intrinsic_dimension` finds $d_{90}$ of our own tasks, and
# `minilora finetune --method random-subspace --dimension 1000` trains in such a subspace.
#
# ## What a rank says
#
# Numbers are one thing, sentences another. The adapter that comes with minilora has $r = 16$. Cut each of its changes
# down to the closest matrix of rank $r$, as in [notebook 1](01_rank.ipynb), and let it answer:


# %%
from minilora import generate, load_adapter
from minilora.analysis import factored_svd
from minilora.data import EOT
from minilora.methods import bundled_adapter

prompts, _ = task.prompts("test", 1)
print(task.tokenizer.decode(prompts[0]))


# %%
def answer_with_rank(r):
    """What the bundled adapter answers when each of its changes has rank r."""
    model = load_bundled("decoder")
    load_adapter(model, bundled_adapter())
    for layer in lora_layers(model).values():
        U, S, Vt = factored_svd(layer.B.data, layer.A.data)  # (O, 16), (16,), (16, I)
        layer.B.data[:], layer.A.data[:] = U * S * (np.arange(16) < r), Vt
    (answer,) = generate(model, prompts, max_tokens=60, stop=EOT)
    return task.tokenizer.decode(answer).strip()


# %%
for r in 1, 2, 4, 8, 16:
    print(f"r = {r:2}  {answer_with_rank(r)}")

# %% [markdown]
# Rank 1 stammers. With 8 of the 16 directions there is a sentence about the right cafe, and with all of them a good
# one. That does not say that the task needs 16: this adapter was trained with 16, and then cut.
#
# ## On a GPU
#
# A sweep is many small runs, and a GPU is not made for small runs: each of its operations has to be started, and with a
# model of this size that takes longer than the operation itself. It pays for larger models, or for many runs at once.
#
# ## Questions
#
# **1.** GPT-3, all four attention matrices, 18.9 million parameters: which rank? And if the two MLP matrices ($4d
# \times d$ and $d \times 4d$) are adapted as well, at the same rank: how many parameters?
#
# <details><summary>Answer</summary>
#
# $96 \cdot 4 \cdot 2 \cdot 12288\, r = 9.44\text{M} \cdot r$, so $r = 2$. The MLP's have $5 d r$ each, $10 d r$
# together beside $8 d r$: $18.9 \cdot 18/8 = 42.5$ million.
#
# </details>
#
# **2.** A paper reports 84.3 for its method and 84.0 for LoRA, one run each, and elsewhere a standard deviation of 0.3.
# What do you conclude?
#
# <details><summary>Answer</summary>
#
# The difference of two runs has a deviation of $\sqrt2 \cdot 0.3 = 0.42$; 0.3 is less than one deviation. Nothing can
# be concluded, in either direction. With $n$ seeds each it is $0.42 / \sqrt n$: some eight seeds would be needed for
# 0.3 to be two deviations.
#
# </details>
#
# **3.** Why are paired differences less noisy than differences of means over other seeds?
#
# <details><summary>Answer</summary>
#
# $\text{var}(a - b) = \text{var}(a) + \text{var}(b) - 2\,\text{cov}(a, b)$. With the same examples for both, good
# luck of $a$ is good luck of $b$: the covariance is positive. With separate seeds it is zero.
#
# </details>
#
# **4.** Rank 64 has come out no better than rank 4. Name two explanations other than "the task needs no more".
#
# <details><summary>Answer</summary>
#
# Training was too short for the larger rank to be of use; or the learning rate, or the scale $\alpha / r$, suits the
# small rank better (see rsLoRA in [notebook 11](11_after_lora.ipynb)). And it may be noise.
#
# </details>
#
# **5.** You have time for 24 runs and four settings. One seed and six learning rates for each, or six seeds and one
# learning rate?
#
# <details><summary>Answer</summary>
#
# Neither. One seed cannot tell luck from merit, and one learning rate favours the setting that it suits. Three rates
# with one seed each are 12 runs; three more seeds for the best rate of each setting are the other 12.
#
# </details>
