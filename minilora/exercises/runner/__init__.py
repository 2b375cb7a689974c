"""What runs in the process of an answer. It imports Python and NumPy, and nothing of minilora: there is none there.

The judge's process writes down the calls that it wants made, as plain data; `worker.py` makes them and writes down what
came back. What is right is never known here. `runner` is a package by itself, with relative imports, so that it can be
found without minilora.
"""
