"""What runs in the process of an answer. It imports only Python and NumPy: minilora is not available there.

The judge's process writes the calls that it wants made, as plain data; `worker.py` makes them and writes down what came
back. The right results are never known here. `runner` is a package of its own, with relative imports, so that it can
be found without minilora.
"""
