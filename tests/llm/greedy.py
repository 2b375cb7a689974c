"""The same twenty prompts, continued greedily by llama.cpp and by minilora, in four variants."""

from llm import llama_cpp
from llm.cases import N_TOKENS, PROMPTS, STOP, VARIANTS, adapt
from minilora.interop import load_gguf, load_tokenizer, save_gguf, save_gguf_adapter, smollm2_file
from minilora.methods import merge_lora, set_adapter, unmerge_lora
from minilora.methods.switching import lora_layers
from minilora.models import generate


def prompt_ids():
    tokenizer = load_tokenizer(smollm2_file())
    return [tokenizer.encode(prompt).tolist() for prompt in PROMPTS]


def asked_of_llama_cpp(folder, variants=VARIANTS, n_prompts=None):
    """What llama.cpp adds to the prompts: a list of lists of ids for each variant."""
    model = load_gguf(smollm2_file())
    base, adapter, merged = folder / "base.gguf", folder / "adapter.gguf", folder / "merged.gguf"
    save_gguf(model, base, like=smollm2_file(), dtype="f32")
    adapt(model)
    save_gguf_adapter(model, adapter)
    if "merged" in variants:
        merge_lora(model)
        save_gguf(model, merged, like=smollm2_file(), dtype="f32")
    del model
    asked = {
        "base": (base, {}),
        "adapter": (base, {"adapter": adapter}),
        "half": (base, {"adapter": adapter, "scale": 0.5}),
        "merged": (merged, {}),
    }
    prompts = prompt_ids()[:n_prompts]
    common = {"prompts": prompts, "n": N_TOKENS, "stop": STOP}
    return {name: llama_cpp.ask(asked[name][0], **common, **asked[name][1])["prompts"] for name in variants}


def ours(model, variant):
    """What minilora adds to them, for an adapted model; it is as it was afterwards."""
    layers = lora_layers(model).values()
    if variant == "base":
        set_adapter(model, None)
    elif variant == "merged":
        merge_lora(model)
    for layer in layers:
        if variant == "half":
            layer.factors.scale /= 2
    said = generate(model, prompt_ids(), max_tokens=N_TOKENS, stop=STOP)
    for layer in layers:
        if variant == "half":
            layer.factors.scale *= 2
    if variant == "base":
        set_adapter(model, "default")
    elif variant == "merged":
        unmerge_lora(model)
    return said
