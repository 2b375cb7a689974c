"""What a command reads and what it writes: it never overwrites what it reads."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from minilora.models.bundled import ASSETS


def check_output(option: str, path: str, reads: Mapping[str, str | None], *, example: str) -> None:
    """Raise a ValueError unless a file can be written where an option says, without harm to what the command reads.

    Parameters
    ----------
    option, path : str
        Such as "--out", and what was typed after it.
    reads : dict of str to str
        By option: a file or folder that the command reads, or None.
    example : str
        A file name that would be accepted.
    """
    if Path(path).is_dir():
        raise ValueError(f"{option} was {path}, a folder; it must be a file, such as {example}")
    check_folder(option, str(Path(path).parent))
    _keep(option, path, [Path(path)], reads)


def check_output_folder(option: str, path: str, reads: Mapping[str, str | None], writes: Iterable[str]) -> None:
    """Raise a ValueError unless files of these names can be written to a folder, without harm to what is read."""
    check_folder(option, path)
    _keep(option, path, [Path(path) / name for name in writes], reads)


def check_folder(option: str, path: str) -> None:
    """Raise ValueError if a path that must be a folder is a file, or leads through one."""
    for folder in (Path(path), *Path(path).parents):
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{option} was {path}, but {folder} is a file; it must be a folder")


def check_input(option: str, path: str) -> None:
    """Raise a ValueError if there is no file that an option names."""
    if not Path(path).is_file():
        what = "a folder" if Path(path).is_dir() else "but there is no such file"
        raise ValueError(f"{option} was {path}, {what}; it must be a file")


def _keep(option: str, path: str, written: list[Path], reads: Mapping[str, str | None]) -> None:
    for reader, source in {**reads, "the bundled model": str(ASSETS)}.items():
        for file in written:
            if source is not None and _is_part_of(file, Path(source)):
                what = "" if file == Path(path) else f"where {file.name} is "
                raise ValueError(f"{option} was {path}, {what}what {reader} reads; it must be another path")


def _is_part_of(file: Path, source: Path) -> bool:
    """Whether a file is the source, or one of the files in the folder that the source is; links are followed."""
    if not source.exists():
        return False
    if file.exists() and file.samefile(source):
        return True
    places = {file.resolve(), file.parent.resolve() / file.name}
    if source.is_dir():
        return any(place.parent == source.resolve() for place in places) and (file.exists() or file.is_symlink())
    return bool(places & {source.resolve(), source.parent.resolve() / source.name})
