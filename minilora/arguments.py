"""The verbs of the command line and their options."""

import argparse

import minilora

NOT_GIVEN = (  # None unless given, by a verb in whose help they have no default of their own
    "model", "adapter", "text", "lr", "threads", "top_k", "top_p", "parts", "against", "peer_python", "base",
    "architecture", "length", "steps", "width", "out", "workers", "runs", "exercise", "tuned", "plot", "other",
    "layers", "directions",
)  # fmt: skip
MODEL_HELP = "a model that minilora saved (default: the bundled decoder, or for classes the bundled encoder)"


def parse(arguments):
    """The options in a list of arguments: a Namespace with `verb` and what that verb takes."""
    return parser().parse_args(arguments, argparse.Namespace(**dict.fromkeys(NOT_GIVEN)))


def parser():
    """The parser of all verbs."""
    top = argparse.ArgumentParser(prog="minilora", description=minilora.__doc__)
    top.add_argument("--version", action="version", version=f"minilora {minilora.__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name, summary, example):
        p = verbs.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example:  {example}",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        p.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="where; auto: on a GPU if any")
        p.add_argument("--seed", type=int, default=0, help="of everything that is random")
        return p

    p = verb("demo", "Adapt the bundled decoder with LoRA and in full, and compare.",
             "minilora demo --text my.txt")  # fmt: skip
    p.add_argument("--text", metavar="FILE", default=argparse.SUPPRESS,
                   help="adapt to this UTF-8 text, of 5 KB or more, instead of mini-E2E")  # fmt: skip
    p.add_argument("--steps", type=int, default=300, help="training steps of each method")
    p.add_argument("--out", metavar="DIR", default="figures/latest", help="for figures and numbers")
    p.add_argument("--runs", metavar="DIR", default="runs/demo", help="for the adapter and the fine-tuned model")

    p = verb("pretrain", "Pretrain a byte-level decoder or encoder; continues if DIR holds a run.",
             "minilora pretrain --kind encoder --out runs/encoder")  # fmt: skip
    p.add_argument("--kind", choices=("decoder", "encoder"), default="decoder",
                   help="a GPT, which says what comes next, or a RoBERTa, which says what is hidden")  # fmt: skip
    p.add_argument("--out", metavar="DIR", default=argparse.SUPPRESS,
                   help="the run's folder (default: runs/decoder or runs/encoder)")  # fmt: skip
    p.add_argument("--corpus", choices=("prose", "code"), default="prose", help="what it reads")
    p.add_argument("--steps", type=int, default=argparse.SUPPRESS,
                   help="training steps (default: 8000)")  # fmt: skip
    p.add_argument("--layers", type=int, default=4, help="number of blocks, L")
    p.add_argument("--width", type=int, default=argparse.SUPPRESS,
                   help="width of the model, C (default: 192; 128 of an encoder)")  # fmt: skip
    p.add_argument("--heads", type=int, default=4, help="attention heads, H")

    p = verb("finetune", "Adapt a model to a task, and keep the adapter in a run folder.",
             "minilora finetune --rank 4 --alpha 8 --targets q_proj,v_proj --out runs/my-adapter")  # fmt: skip
    p.add_argument("--model", metavar="FILE", default=argparse.SUPPRESS, help=MODEL_HELP)
    task_options(p)
    p.add_argument("--method", choices=tuple(minilora.METHODS), default="lora", help="what is trained; each of the "
                   "following options says which methods it is for")  # fmt: skip
    lora = "lora, rslora, dora, pissa"
    p.add_argument("--rank", type=int, default=8, help=f"r, the rank of delta W ({lora})")
    p.add_argument("--alpha", type=float, default=16, help=f"delta W is scaled by alpha / r ({lora})")
    p.add_argument("--targets", default="q_proj,v_proj", help="layers to adapt, with commas between: any of q_proj, "
                   f"k_proj, v_proj, o_proj, fc_in, fc_out, or whole paths ({lora})")  # fmt: skip
    p.add_argument("--dropout", type=float, default=0.0,
                   help=f"probability with which an input of A is dropped ({lora})")  # fmt: skip
    p.add_argument("--rslora", action="store_true", help=f"scale by alpha / sqrt(r) instead ({lora})")
    p.add_argument("--dora-exact", action="store_true", help="differentiate through DoRA's norm (dora)")
    p.add_argument("--size", type=int, default=16, help="r, the width of an adapter (adapter-h, -l, -p, -d)")
    p.add_argument("--leave-out", type=int, default=1, help="first blocks without an adapter (adapter-d)")
    p.add_argument("--before", type=int, default=5, help="tokens before the prompt (prefix-embedding, prefix-layer)")
    p.add_argument("--after", type=int, default=5, help="tokens after the prompt (prefix-embedding, prefix-layer)")
    p.add_argument("--blocks", type=int, default=2, help="how many of the last blocks are trained (top-k)")
    p.add_argument("--steps", type=int, default=300, help="training steps")
    p.add_argument("--batch-size", type=int, default=8, help="examples, or windows of text, in a step")
    p.add_argument("--accumulation", type=int, default=1, help="parts in which a batch is computed, to save memory")
    p.add_argument("--lr", type=float, default=argparse.SUPPRESS,
                   help="learning rate (default: one that suits the method)")  # fmt: skip
    p.add_argument("--lr-ratio-b", type=float, default=1.0, help="LoRA+: B's learning rate divided by A's")
    p.add_argument("--schedule", choices=("linear", "cosine", "constant"), default="linear",
                   help="how the learning rate falls after warming up")  # fmt: skip
    p.add_argument("--threads", type=int, default=argparse.SUPPRESS,
                   help="threads that share a batch (default: one for each core)")  # fmt: skip
    p.add_argument("--out", metavar="DIR", default="runs/finetune", help="the run's folder")

    p = verb("evaluate", "Measure a model on a task.",
             "minilora evaluate --adapter runs/my-adapter/adapter.safetensors")  # fmt: skip
    model_options(p)
    task_options(p)
    p.add_argument("--split", choices=("valid", "test"), default="test", help="which held-out examples")

    p = verb("generate", "Continue a text.", 'minilora generate "The function returns " --temperature 0.8')
    p.add_argument("prompt", help="the text to continue")
    model_options(p)
    p.add_argument("--source", action="store_true", help="the prompt is a task's source: answer it, as in training")
    p.add_argument("--max-tokens", type=int, default=120, help="bytes to add, at most; the model's length limits them")
    p.add_argument("--temperature", type=float, default=0.0, help="0: always the likeliest byte; 1: as the model says")
    p.add_argument("--top-k", type=int, default=argparse.SUPPRESS, help="draw from the K likeliest bytes")
    p.add_argument("--top-p", type=float, default=argparse.SUPPRESS,
                   help="draw from the likeliest bytes that have probability P together")  # fmt: skip

    p = verb("merge", "Merge an adapter into its base: one model file, without added latency.",
             "minilora merge --adapter runs/my-adapter/adapter.safetensors --out merged.safetensors")  # fmt: skip
    model_options(p)
    p.add_argument("--out", metavar="FILE", required=True, help="the merged model's file")

    p = verb("bench", "Measure speed and memory on this machine, beside its matrix products and beside PyTorch.",
             "minilora bench train generate --shapes S1,S2 --against torch")  # fmt: skip
    p.add_argument("parts", nargs="*", metavar="PART", default=argparse.SUPPRESS,
                   help="train, generate, memory or scaling (default: all)")  # fmt: skip
    p.add_argument("--shapes", default="S1,S2,S3", help="with commas between: any of S1, S2, S3, gpt2-small")
    p.add_argument("--methods", default="lora,full", help="with commas between: any of lora, full")
    p.add_argument("--rounds", type=int, default=7, help="in which all that is compared takes its turn")
    p.add_argument("--threads", type=int, default=argparse.SUPPRESS,
                   help="threads of each side (default: one for each core)")  # fmt: skip
    p.add_argument("--against", choices=("torch",), default=argparse.SUPPRESS,
                   help="compare with PyTorch, transformers and PEFT, in an environment of their own")  # fmt: skip
    p.add_argument("--peer-python", metavar="FILE", default=argparse.SUPPRESS,
                   help="the Python of that environment (default: the one in .venv-torch)")  # fmt: skip
    p.add_argument("--out", metavar="DIR", default="figures/latest", help="for bench.json and figures")

    p = verb("reproduce", "The paper's tables and figures in small; goes on where it was interrupted.",
             "minilora reproduce table6 --quick")  # fmt: skip
    p.add_argument("names", nargs="+", metavar="NAME", help="such as table6; or list: what there is; or all")
    p.add_argument("--quick", action="store_true", help="in minutes, to see it work; the numbers then say nothing")
    p.add_argument("--workers", type=int, default=argparse.SUPPRESS,
                   help="runs at a time (default: one for each core)")  # fmt: skip
    p.add_argument("--executor", choices=("process", "mpi"), default="process",
                   help="who does the runs: processes of this machine, or the other ranks of mpiexec")  # fmt: skip
    p.add_argument("--out", metavar="DIR", default=argparse.SUPPRESS,
                   help="for results, figures and their page (default: figures/latest)")  # fmt: skip
    p.add_argument("--runs", metavar="DIR", default=argparse.SUPPRESS,
                   help="where finished runs are kept (default: runs/reproduce)")  # fmt: skip

    p = verb("import-peft", "Turn a LoRA adapter that PEFT saved into one of minilora's.",
             "minilora import-peft their-adapter --out adapter.safetensors")  # fmt: skip
    p.add_argument("folder", help="with adapter_config.json and adapter_model.safetensors")
    p.add_argument("--model", metavar="FILE", default=argparse.SUPPRESS, help=MODEL_HELP)
    p.add_argument("--out", metavar="FILE", required=True, help="the adapter's file")

    p = verb("export-peft", "Write an adapter as a folder that PEFT loads.",
             "minilora export-peft --adapter runs/my-adapter --out for-peft")  # fmt: skip
    model_options(p)
    p.add_argument("--base", metavar="NAME", default=argparse.SUPPRESS, help="where PEFT finds the base model")
    p.add_argument("--out", metavar="DIR", required=True, help="the folder")

    p = verb("count", "Parameters, bytes and operations of a method on an architecture, beside the paper's counts.",
             "minilora count gpt3-175b --method lora --rank 4 --targets q_proj,v_proj")  # fmt: skip
    p.add_argument("architecture", nargs="?", default=argparse.SUPPRESS,
                   help="such as gpt2-medium; or list: all of them; or published: all counts of the paper")  # fmt: skip
    p.add_argument("--model", metavar="FILE", default=argparse.SUPPRESS, help="count a model that minilora saved")
    p.add_argument("--method", default="lora", help="full, top-k, bitfit, prefix-embedding, prefix-layer, "
                   "adapter-h, adapter-l, adapter-p, adapter-d, lora, dora, lora+prefix-embedding or "
                   "lora+prefix-layer")  # fmt: skip
    p.add_argument("--rank", type=int, default=8, help="r of lora and dora")
    p.add_argument("--targets", default="q_proj,v_proj", help="what lora and dora adapt, with commas between: any of "
                   "q_proj, k_proj, v_proj, o_proj, fc_in, fc_out")  # fmt: skip
    p.add_argument("--size", type=int, default=16, help="r, the width of an adapter (adapter-h, -l, -p, -d)")
    p.add_argument("--leave-out", type=int, default=1, help="first blocks without an adapter (adapter-d)")
    p.add_argument("--before", type=int, default=8, help="tokens before the prompt (prefix-embedding, prefix-layer)")
    p.add_argument("--after", type=int, default=8, help="tokens after the prompt (prefix-embedding, prefix-layer)")
    p.add_argument("--blocks", type=int, default=2, help="how many of the last blocks are trained (top-k)")
    p.add_argument("--batch-size", type=int, default=8, help="sequences in a step")
    p.add_argument("--length", type=int, default=argparse.SUPPRESS,
                   help="tokens in a sequence (default: 512, or as many as the architecture takes)")  # fmt: skip
    p.add_argument("--optimizer", choices=("adamw", "sgd"), default="adamw", help="whose state is counted")

    p = verb("rank", "Rank: of a small matrix step by step; or of weights and what was added to them, layer by layer.",
             'minilora rank "1,2;2,5;2,4" --plot steps.png')  # fmt: skip
    p.add_argument("matrix", nargs="?", default="1,2;2,5;2,4", help="numbers such as 2, 1/3 or 0.1, with commas "
                   "between them and semicolons between rows; write -- before a minus at the beginning")  # fmt: skip
    model_options(p)
    p.add_argument("--tuned", metavar="FILE", default=argparse.SUPPRESS,
                   help="the model after full fine-tuning, or its run folder")  # fmt: skip
    p.add_argument("--weights", action="store_true", help="the weights W of the model themselves, too")
    p.add_argument("--layers", default=argparse.SUPPRESS,
                   help="with commas between: whole paths, or their ends, such as q_proj (default: all)")  # fmt: skip
    p.add_argument("--share", type=float, default=90, help="percent of ||W||^2 or ||delta W||^2 for which directions "
                   "are counted")  # fmt: skip
    p.add_argument("--plot", metavar="FILE", default=argparse.SUPPRESS,
                   help="a PNG: of a small matrix the elimination; of several layers the ranks of each; of one its "
                   "spectrum, cut for --share")  # fmt: skip

    p = verb("subspace", "Which directions an adapter uses: beside another adapter's, or beside those of W itself.",
             "minilora subspace --adapter runs/one --other runs/two --plot phi.png")  # fmt: skip
    model_options(p)
    p.add_argument("--other", metavar="FILE", default=argparse.SUPPRESS,
                   help="another adapter for the model, or its run folder (default: none; compare with W)")  # fmt: skip
    p.add_argument("--of", choices=("delta", "A", "B"), default="delta", help="whose directions are compared: "
                   "delta W's (input side), A's, as in the paper, or B's (output side)")  # fmt: skip
    p.add_argument("--layers", default=argparse.SUPPRESS,
                   help="with commas between: whole paths, or their ends, such as q_proj (default: all)")  # fmt: skip
    p.add_argument("--directions", type=int, default=argparse.SUPPRESS,
                   help="how many of the leading directions (default: all that the adapter has)")  # fmt: skip
    p.add_argument("--plot", metavar="FILE", default=argparse.SUPPRESS,
                   help="a PNG of phi(i, j), for up to five layers, and of random matrices")  # fmt: skip

    p = verb("exercises", "Exercises: write a function, and be told which mistake is in it.",
             "minilora exercises start 1")  # fmt: skip
    p.add_argument("action", choices=("list", "start", "check", "hint", "reset", "solution"),
                   help="what to do; start, without an exercise, begins the next one")  # fmt: skip
    p.add_argument("exercise", nargs="?", default=argparse.SUPPRESS, help="its number or its name")
    p.add_argument("--folder", metavar="DIR", default="exercises", help="your answers and your progress")
    p.add_argument("--notebook", action="store_true", help="start with a notebook, which needs jupytext")
    return top


def model_options(p):
    """Which model: a base, and an adapter for it."""
    p.add_argument("--model", metavar="FILE", default=argparse.SUPPRESS, help=MODEL_HELP)
    p.add_argument("--adapter", metavar="FILE", default=argparse.SUPPRESS, help="an adapter for it, or its run folder")


def task_options(p):
    """Which task."""
    tasks = p.add_mutually_exclusive_group()
    tasks.add_argument("--task", default="mini-e2e", help="of texts: mini-e2e, pairs, prose, code, a .txt file, or a "
                       ".csv or .jsonl file with source and target; of classes: unicode-names, unicode-names-by-word, "
                       "docstring-pairs, function-packages, or a file with text, label and, for pairs of texts, "
                       "second")  # fmt: skip
    tasks.add_argument("--text", metavar="FILE", default=argparse.SUPPRESS, help="running text in UTF-8, any file")
