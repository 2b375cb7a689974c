"""The source code of the standard library, without the English between the lines.

Each file is parsed and written out again from its syntax tree: comments are not in the tree, docstrings are
taken out of it, and the layout becomes uniform. That is simpler than cutting tokens out of the text, and what
comes out is always valid Python.
"""

import ast
from collections.abc import Iterator

from minilora.data.stdlib_source import definitions, source_files


def code_texts() -> Iterator[tuple[str, str]]:
    """(key, text) for each file of the standard library that holds any code."""
    for file in source_files():
        text = without_docstrings(file.tree)
        if text:
            yield file.key, text


def without_docstrings(tree: ast.Module) -> str:
    """The source of a module without its docstrings and comments. The tree is changed."""
    for node in definitions(tree):
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
            if not node.body and not isinstance(node, ast.Module):
                node.body = [ast.Pass()]  # a class or function needs a statement
    return ast.unparse(tree)
