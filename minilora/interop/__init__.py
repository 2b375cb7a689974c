"""What other libraries write, read here, and the other way round."""

from minilora.interop.peft_load import load_peft
from minilora.interop.peft_save import save_peft

__all__ = ["load_peft", "save_peft"]
