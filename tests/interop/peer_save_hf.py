"""What transformers computes with folders that minilora wrote. Run by the Python that has torch and transformers:

    PYTHON peer_save_hf.py FOLDER

FOLDER/NAME is a model's folder; FOLDER/NAME.npz has ids and, for an encoder, mask; FOLDER/NAME.texts.json, if it is
there, texts for its tokenizer, and FOLDER/NAME.adapter, if it is there, an adapter for it, which peft loads.
FOLDER/NAME.out.npz becomes the outputs, and FOLDER/NAME.said.json what the loading missed or did not expect, and the
ids of the texts.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import peft
import torch
import transformers

sys.path.append(str(Path(__file__).resolve().parent.parent / "golden"))
from float64 import in_float64

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
torch.set_num_threads(1)


def compute(folder, inputs):
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    with in_float64(), torch.no_grad():
        model, said = getattr(transformers, architecture).from_pretrained(
            folder, dtype=torch.float64, output_loading_info=True
        )
        arrays = {"input_ids": torch.from_numpy(inputs["ids"])}
        if "mask" in inputs:
            arrays["attention_mask"] = torch.from_numpy(inputs["mask"]).long()
        if (adapter := folder.with_name(f"{folder.name}.adapter")).is_dir():
            model = peft.PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=False)
        return model.eval()(**arrays)[0].numpy(), {name: sorted(map(str, keys)) for name, keys in said.items()}


def main(root):
    for file in sorted(root.glob("*.npz")):
        folder = file.with_suffix("")
        if ".out" in file.name:
            continue
        output, said = compute(folder, np.load(file))
        np.savez(root / f"{folder.name}.out.npz", output=output)
        texts = root / f"{folder.name}.texts.json"
        if texts.is_file():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            said["ids"] = [tokenizer(text)["input_ids"] for text in json.loads(texts.read_text())]
            said["decoded"] = [tokenizer.decode(ids, skip_special_tokens=True) for ids in said["ids"]]
            said["tokens"] = [tokenizer.eos_token_id, tokenizer.mask_token_id, tokenizer.pad_token_id]
        (root / f"{folder.name}.said.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
