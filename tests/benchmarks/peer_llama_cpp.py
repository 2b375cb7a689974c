"""llama.cpp as a peer of `minilora bench`, through the package xllamacpp: generation from a GGUF file.

It reads a JSON command a line and answers with a JSON line, as minilora/experiments/bench/worker.py does.
"""

import json
import os
import resource
import sys
import time

import xllamacpp

PROMPT = list(range(1000, 1016))  # 16 ids, as many as the others get


class Peer:
    """A model, and what can be timed with it."""

    def make(self, path, threads):
        params = xllamacpp.CommonParams()
        params.model.path = path
        params.n_ctx, params.n_parallel, params.verbosity = 512, 1, 0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        self.server = xllamacpp.Server(params)

    def generate(self, n):
        """n tokens after a prompt of 16, greedily, with a key-value cache."""
        asked = {"prompt": PROMPT, "max_tokens": n, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
        usage = self.server.handle_completions(asked)["usage"]
        if (usage["prompt_tokens"], usage["completion_tokens"]) != (len(PROMPT), n):
            raise RuntimeError(f"it was to add {n} tokens to {len(PROMPT)}; its usage was {usage}")

    def versions(self):
        """Of what is compared."""
        return {"xllamacpp": xllamacpp.__version__}


def main():
    """Answer commands until there are no more."""
    peer = Peer()
    answers, sys.stdout = os.fdopen(os.dup(1), "w"), sys.stderr
    os.dup2(2, 1)  # what llama.cpp prints is no answer
    for line in sys.stdin:
        command = json.loads(line)
        started = time.perf_counter()
        answer = getattr(peer, command.pop("do"))(**command) or {}
        answer["seconds"] = time.perf_counter() - started
        answer["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
