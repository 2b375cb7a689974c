"""Right and wrong uses of the public names, for mypy to tell apart: see test_types.py. Nothing here is run."""

from pathlib import Path

import numpy

import minilora
from minilora import (
    GPT,
    AdamW,
    ByteTokenizer,
    GPTConfig,
    Llama,
    LlamaConfig,
    LoRAConfig,
    TrainConfig,
    Trainer,
    apply_lora,
    apply_method,
    count_parameters,
    generate,
    load_bundled,
    load_gpt2,
    load_peft,
    load_task,
    merge_lora,
    save_adapter,
    save_peft,
    set_adapter,
)
from minilora.accounting import adaptation, find_architecture, memory_estimate
from minilora.analysis import delta_weights, matrix_rank_steps, subspace_similarity
from minilora.data import LMBatch
from minilora.gradcheck import check_model, check_op
from minilora.layers import Linear, SelfAttention
from minilora.methods import HoulsbyConfig, apply_houlsby, combine_adapters
from minilora.ops import dropout_mask, lora_linear_backward, lora_linear_forward, softmax_backward, softmax_forward
from minilora.training import SGD, ParameterGroup, evaluate_loss, train_step

rng = numpy.random.default_rng(0)
x, W, A, B = (numpy.ones((2, 2)) for _ in range(4))


def models() -> None:
    model = GPT(GPTConfig(vocab_size=256, n_positions=16, n_layer=1, d_model=8, n_head=2), rng)
    GPT(GPTConfig(vocab_size=256, n_positions=16, n_layer=1, d_model=8, n_head=2), 0)  # wrong
    GPT(LoRAConfig(), rng)  # wrong
    GPTConfig(vocab_size="256", n_positions=16, n_layer=1, d_model=8, n_head=2)  # wrong
    logits, cache = model.forward(numpy.zeros((1, 4), int))
    model.backward(logits, cache)
    model.backward(logits, cache.blocks)  # wrong
    probs = cache.blocks[0].attn.probs
    probs = cache.blocks[0].attention.probs  # wrong
    loss, loss_cache = model.loss(LMBatch(x, x, x), need_grad=True)
    model.backward_loss(1.0, loss_cache)
    model.loss(x)  # wrong
    model.backward_loss(1.0, cache)  # wrong
    print(model.config.n_positions, model.longest_input, probs, loss)
    print(load_bundled().config.n_positions, load_bundled("encoder").encoder)
    load_bundled("decoder").encoder  # wrong
    load_bundled(3)  # wrong
    llama = Llama(LlamaConfig(vocab_size=9, n_positions=8, n_layer=1, d_model=8, n_head=2, n_kv_head=1), rng)
    LlamaConfig(vocab_size=9, n_positions=8, n_layer=1, d_model=8, n_head=2, layer_norm_eps=1e-5)  # wrong
    llama_logits, llama_cache = llama.forward(numpy.zeros((1, 4), int), text_lengths=((1, 3),))
    llama.backward(llama_logits, llama_cache)
    llama.backward(llama_logits, cache)  # wrong
    print(llama_cache.blocks[0].mlp.gate_proj, llama.new_past(2, 5)[0].keys)
    load_gpt2(Path("folder"), dtype="float64")
    load_gpt2("folder", 64)  # wrong
    minilora.nonsense  # wrong


def generation() -> None:
    model, tokenizer = load_bundled("decoder"), ByteTokenizer()
    texts = generate(model, [tokenizer.encode("Once")], max_tokens=8, temperature=0.5, rng=rng)
    print(tokenizer.decode(texts[0]))
    generate(model, [[1, 2]], max_tokens="8")  # wrong
    generate(model, "Once", max_tokens=8)  # wrong
    generate(load_bundled("encoder"), [[1, 2]], max_tokens=8)  # wrong
    tokenizer.encode(b"Once")  # wrong


def methods() -> None:
    model = load_bundled("decoder")
    apply_lora(model, LoRAConfig(rank=4, targets=["q_proj", "v_proj"]), rng=rng)
    apply_lora(model, 3, rng=rng)  # wrong
    apply_lora(model, LoRAConfig(), rng="no")  # wrong
    apply_lora(model, LoRAConfig())  # wrong
    apply_lora("model", LoRAConfig(), rng=rng)  # wrong
    LoRAConfig(rank="4")  # wrong
    apply_method(model, "bitfit", name="mine")
    apply_method(model, "bitfit", rng=0)  # wrong
    apply_houlsby(model, HoulsbyConfig(size=4), rng=rng)
    apply_houlsby(model, LoRAConfig(), rng=rng)  # wrong
    set_adapter(model, None)
    set_adapter(model, 3)  # wrong
    merge_lora(model)
    merge_lora("model")  # wrong
    combine_adapters(model, ["one", "two"], [0.5, 0.5], how="average")
    combine_adapters(model, ["one", "two"], 0.5)  # wrong
    save_adapter(model, Path("adapter.safetensors"))
    save_adapter("adapter.safetensors", model)  # wrong
    save_peft(model, "folder", base="gpt2")
    load_peft(model, "folder", name=3)  # wrong


def training() -> None:
    model, task = load_bundled("decoder"), load_task("pairs", length=64)
    load_task("pairs")  # wrong
    config = TrainConfig(steps=10, batch_size=2, lr=1e-3)
    TrainConfig(steps="10", batch_size=2, lr=1e-3)  # wrong
    trainer = Trainer(model, lambda rng: task.sample_batch(rng, 2), config, folder="run")
    Trainer(model, task, config)  # wrong
    Trainer(model, lambda rng: task.sample_batch(rng, 2), {"steps": 10})  # wrong
    print(trainer.run(progress=False).losses[-1])
    trainer.run().loss  # wrong
    optimizer = AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99))
    AdamW(model, lr=1e-3)  # wrong
    AdamW(model.parameters(), lr="1e-3")  # wrong
    SGD([ParameterGroup(model.parameters(), lr_ratio=2.0)], 0.1)
    loss, norm = train_step(model, optimizer, LMBatch(x, x, x), lr=1e-3)
    train_step(model, optimizer, LMBatch(x, x, x))  # wrong
    print(loss + norm + evaluate_loss(model, task.batches("valid")))


def looking() -> None:
    model = load_bundled("decoder")
    print(count_parameters(model).percent)
    count_parameters(model).share  # wrong
    estimate = memory_estimate(find_architecture("gpt2"), adaptation(find_architecture("gpt2"), "lora", rank=4),
                               batch_size=4, length=64)  # fmt: skip
    print(estimate.total)
    memory_estimate("gpt2", "lora", batch_size=4, length=64)  # wrong
    delta = delta_weights(model)["blocks.0.attn.q_proj"]
    print(subspace_similarity(delta, delta).shape, matrix_rank_steps([[1, 2], [2, 4]]).rank)
    matrix_rank_steps([[1, 2], [2, 4]]).ranks  # wrong
    check_model(model, LMBatch(x, x, x), rng=rng)
    check_op(softmax_forward, softmax_backward, {"x": x}, rng=rng)
    check_op(softmax_forward, softmax_backward, x, rng=rng)  # wrong
    check_op(softmax_forward, softmax_backward, {"x": x})  # wrong


def ops() -> None:
    y, cache = lora_linear_forward(x, W, None, A, B, 2.0)
    lora_linear_forward(x, W, A, B, 2.0)  # wrong
    lora_linear_forward(x, W, None, A, B, "2.0")  # wrong
    dx, dA, dB = lora_linear_backward(y, cache)
    dx, dW, dA, dB = lora_linear_backward(y, cache)  # wrong
    lora_linear_backward(y, softmax_forward(x)[1])  # wrong
    dropout_mask(x, 0.1, rng)
    dropout_mask(x, 0.1, 0)  # wrong
    linear = Linear(W)
    SelfAttention(linear, linear, linear, linear, 1)
    SelfAttention(W, W, W, W, 1)  # wrong
    linear.backward(*linear.forward(x))
    linear.backward(x, softmax_forward(x)[1])  # wrong
