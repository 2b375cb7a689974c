"""Makes a Python like a browser's (Pyodide): it starts no thread and no process, and takes no signal handler.

Python imports this at its start where its folder is on PYTHONPATH. What raises here raises so there: Emscripten without
threads has no pthread_create, and no fork, exec or sigaction that does anything.
"""

import _thread
import os
import signal
import subprocess
import sys
import threading


def refuse(name, error):
    def refused(*_, **__):
        raise error(f"{name}: a browser's Python cannot do this")

    return refused


import sysconfig  # noqa: E402

import numpy  # noqa: E402, F401  # its wheel is this system's, and is loaded as such

sysconfig.get_config_vars()  # this system's, too, and kept from here on

sys.platform = "emscripten"
threading.Thread.start = refuse("threading.Thread.start", RuntimeError)
_thread.start_new_thread = threading._start_new_thread = refuse("_thread.start_new_thread", RuntimeError)
subprocess.Popen.__init__ = refuse("subprocess.Popen", OSError)
subprocess.Popen.__del__ = lambda self: None  # it was not made
for name in ("fork", "forkpty", "posix_spawn", "execv", "execve", "system", "kill", "killpg"):
    setattr(os, name, refuse(f"os.{name}", OSError))
signal.signal = refuse("signal.signal", ValueError)
del os.sched_getaffinity
