"""Write tests/names_before.txt: the public names of another version of minilora, a module and a name a line.

    python tests/names_before.py CHECKOUT > tests/names_before.txt

Public is what a package lists in ``__all__``, and, of the modules named here, every name without an underscore: those
that stood beside the packages, and those that have moved since.
"""

import ast
import sys
from pathlib import Path

MODULES = (
    "analysis.accounting", "analysis.adaptations", "analysis.architectures", "analysis.communication",
    "analysis.costs", "analysis.published", "backend", "blocks", "distributed", "files", "generation", "gradcheck",
    "kernels", "layers.adapter", "layers.lora_linear", "layers.lora_variants", "layers.prefix", "layers.rows_linear",
    "methods.adapter", "methods.combining", "methods.lora_config", "methods.rows", "models.weights_id", "parameter",
    "threads",
)  # fmt: skip


def listed(tree):
    """What ``__all__`` lists; None without one."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
            return ast.literal_eval(node.value)
    return None


def defined(tree):
    """The names without an underscore that a module defines."""
    names = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return sorted(name for name in names if not name.startswith("_"))


def names_of(checkout):
    """Yield (module, name) for each public name of the minilora in a folder."""
    for path in sorted((checkout / "minilora").rglob("*.py")):
        module = ".".join(path.relative_to(checkout).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = listed(tree)
        if names is None and module.removeprefix("minilora.") in MODULES:
            names = defined(tree)
        yield from ((module, name) for name in names or ())


if __name__ == "__main__":
    for module, name in names_of(Path(sys.argv[1])):
        print(module, name)
