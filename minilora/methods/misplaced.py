"""Errors for paths where an adapter was expected: they say what the path is instead, and what to do."""

from pathlib import Path

OURS, PEFTS = "adapter.safetensors", "adapter_config.json"


def check_is_file(path: Path) -> None:
    """Raise ValueError, saying what the path is, if it is a folder and not an adapter's file."""
    if not path.is_dir():
        return
    if (path / PEFTS).is_file():
        raise ValueError(
            f"{path} is a folder that PEFT saved, not an adapter of minilora's; load_peft(model, folder) loads it, and "
            f"`minilora import-peft {path} --out {OURS}` makes a file of it"
        )
    if (path / OURS).is_file():
        raise ValueError(f"{path} is a folder; the adapter in it is {path / OURS}")
    raise ValueError(f"{path} is a folder; it must be a file of an adapter{in_a_subfolder(path)}")


def check_is_pefts(folder: Path) -> None:
    """Raise ValueError, saying what the path is, if it is not a folder with an adapter of PEFT's."""
    if folder.is_file():
        raise ValueError(f"{folder} is a file; PEFT's adapters are folders (load_adapter loads a file of minilora's)")
    if not (folder / PEFTS).is_file():
        ours = (
            f"; {folder / OURS} is an adapter of minilora's, which load_adapter loads"
            if (folder / OURS).is_file()
            else ""
        )
        raise ValueError(f"there is no file {folder / PEFTS}{ours}{in_a_subfolder(folder)}")


def in_a_subfolder(folder: Path) -> str:
    """The end of a message that names an adapter one folder further down; empty if there is none."""
    if not folder.is_dir():
        return ""
    inside = sorted(path.parent for name in (PEFTS, OURS) for path in folder.glob(f"*/{name}"))
    return f"; there is one in {inside[0]}" if inside else ""
