"""Asks llama.cpp, where a Python has the package xllamacpp: the one that MINILORA_PEER_PYTHON names, or this one."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

PYTHON = os.environ.get("MINILORA_PEER_PYTHON") or sys.executable
SCRIPT = Path(__file__).with_name("peer_llama_cpp.py")
REASON = "no Python with xllamacpp: pip install xllamacpp, or name one in MINILORA_PEER_PYTHON"


@cache
def is_there():
    try:
        return subprocess.run([PYTHON, "-c", "import xllamacpp"], capture_output=True).returncode == 0
    except OSError:
        return False


def ask(model, **request):
    """The answer to a request; see peer_llama_cpp.py."""
    request = {"model": str(model)} | {k: str(v) if isinstance(v, Path) else v for k, v in request.items()}
    done = subprocess.run([PYTHON, str(SCRIPT)], input=json.dumps(request), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    return json.loads(done.stdout.splitlines()[-1])
