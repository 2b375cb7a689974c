"""Where the repository is, which pyproject.toml says in one place, and the links that need it."""

import tomllib
from pathlib import Path
from urllib.parse import quote, urlsplit

ROOT = Path(__file__).resolve().parent.parent


def address(settings=ROOT / "pyproject.toml"):
    """The repository's address; empty as long as pyproject.toml has none.

    Parameters
    ----------
    settings : Path
    """
    project = tomllib.loads(settings.read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository", "").rstrip("/").removesuffix(".git")


def colab(repository, notebook):
    """What opens a notebook of the repository in Colab; empty unless the repository is on GitHub."""
    name = on_github(repository)
    return name and f"https://colab.research.google.com/github/{name}/blob/main/{quote(notebook)}"


def binder(repository, notebook):
    """What opens a notebook of the repository in Binder; empty unless the repository is on GitHub."""
    name = on_github(repository)
    return name and f"https://mybinder.org/v2/gh/{name}/main?labpath={quote(notebook, safe='')}"


def on_github(repository):
    """OWNER/NAME of an address on GitHub; else empty."""
    parts = urlsplit(repository)
    return parts.path.strip("/") if parts.netloc == "github.com" else ""
