"""The chat template that comes with a model: where it is in a GGUF file and in a Hugging Face folder."""

from pathlib import Path
from typing import Any

from minilora.files import read_json
from minilora.interop.gguf_file import GGUFFile
from minilora.limits import MOST_JSON_BYTES, one_line_errors, shown

FIELD = "tokenizer.chat_template"  # of a GGUF file
SETTINGS, OWN_FILE = "tokenizer_config.json", "chat_template.jinja"  # of a folder


@one_line_errors()
def chat_template_of(path: str | Path) -> str | None:
    """The chat template of a GGUF file or a Hugging Face folder, as text; it is not rendered here.

    Parameters
    ----------
    path : str or Path
        A folder has it in chat_template.jinja, or in tokenizer_config.json: one text, or several with names, of which
        "default" is taken.

    Returns
    -------
    template : str or None
        None if the model has none.

    Raises
    ------
    ValueError
        If there is no such file or folder, or what is there is no text.
    """
    path = Path(path)
    if not path.is_dir():
        return GGUFFile(path).get(FIELD, str, "") or None
    if (own := path / OWN_FILE).is_file():
        if (size := own.stat().st_size) > MOST_JSON_BYTES:
            raise ValueError(f"{own} has {size:,} bytes; it must have at most {MOST_JSON_BYTES:,}")
        try:
            return own.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{own} is not a text: {error}") from None
    settings = path / SETTINGS
    found: Any = read_json(settings).get("chat_template") if settings.is_file() else None
    if isinstance(found, list):
        named = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
        found = named.get("default")
    if found is not None and not isinstance(found, str):
        raise ValueError(f"{settings}: chat_template was {shown(found)}; it must be a text, or texts with names")
    return found
