"""llama.cpp, through the package xllamacpp. Run by a Python that has it; it imports nothing of minilora.

    PYTHON peer_llama_cpp.py < request.json > answer.json

A request has "model", a GGUF file, and perhaps "adapter", another, and "scale"; and some of

    "texts"     to be made into ids: {"text": ..., "control": whether control tokens are read as such}
    "prompts"   lists of ids to be continued, greedily, by at most "n" tokens, until a token of "stop"
    "logprobs"  lists of ids after which the logarithms of the next token's probabilities are asked for, all of them

One thread: two of them wait for each other on a busy machine. "exact" keeps keys and values in float32.
"""

import json
import sys
import urllib.request

import xllamacpp


def start(request):
    params = xllamacpp.CommonParams()
    params.model.path = request["model"]
    params.n_ctx = request.get("n_ctx", 1024)
    params.n_parallel = 1
    params.verbosity = 0
    params.warmup = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    if request.get("exact", True):
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if request.get("adapter"):
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path, adapter.scale = request["adapter"], request.get("scale", 1.0)
        params.lora_adapters = [adapter]
    return xllamacpp.Server(params)


def post(server, path, content):
    body = json.dumps(content).encode()
    request = urllib.request.Request(server.listening_address + path, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())


def ids_of(server, text, control=True):
    return post(server, "/tokenize", {"content": text, "add_special": True, "parse_special": control})["tokens"]


def continued(server, ids, n, stop):
    asked = {"prompt": ids, "n_predict": n, "temperature": 0, "cache_prompt": False, "return_tokens": True}
    chosen = post(server, "/completion", asked)["tokens"]
    return next((chosen[:i] for i, token in enumerate(chosen) if token in stop), chosen)


def logprobs(server, ids, V):
    """A token whose bytes are a character is forced, for nothing is said of others; the logits stay as they are."""
    forced = [[ids_of(server, "a")[-1], 1000]]
    asked = {"prompt": ids, "n_predict": 1, "temperature": 0, "cache_prompt": False, "n_probs": V, "logit_bias": forced}
    found = post(server, "/completion", asked)["completion_probabilities"][0]["top_logprobs"]
    values = {entry["id"]: entry["logprob"] for entry in found}
    return [values.get(i) for i in range(V)]


def main():
    request = json.load(sys.stdin)
    server, n, stop = start(request), request.get("n"), request.get("stop", ())
    answer = {
        "version": xllamacpp.__version__,
        "texts": [ids_of(server, **t) for t in request.get("texts", ())],
        "prompts": [continued(server, ids, n, stop) for ids in request.get("prompts", ())],
        "logprobs": [logprobs(server, ids, request["V"]) for ids in request.get("logprobs", ())],
    }
    print("\n" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
