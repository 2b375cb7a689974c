"""Makes lora_variants.json: DoRA and PiSSA of one linear layer as PEFT computes them, to be compared with ours.

Needs torch and peft, which the tests do not:  python tests/golden/make_lora_variants.py
"""

import json
from pathlib import Path

import peft
import torch

I, O, RANK, ALPHA = 5, 4, 2, 3


class Net(torch.nn.Module):
    """One linear layer."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(I, O)

    def forward(self, x):
        return self.linear(x)


def example(**settings):
    """A layer's adapter by PEFT with something learned: what goes in, what comes out, and autograd's gradients."""
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["linear"], **settings)
    net = Net()  # float32, which PEFT's PiSSA demands
    found = {"W": net.linear.weight, "bias": net.linear.bias}
    found = {name: array.detach().double().numpy().tolist() for name, array in found.items()}
    layer = peft.get_peft_model(net, config).double().base_model.model.linear
    learned = {"A": layer.lora_A["default"].weight, "B": layer.lora_B["default"].weight}
    found |= {f"{name}0": p.detach().numpy().tolist() for name, p in learned.items()}
    found["frozen"] = layer.base_layer.weight.detach().numpy().tolist()
    if settings.get("use_dora"):
        learned["m"] = layer.lora_magnitude_vector["default"].weight
    for p in learned.values():
        p.data += 0.5 * torch.randn_like(p)
    x, dy = torch.randn(3, I, dtype=torch.float64, requires_grad=True), torch.randn(3, O, dtype=torch.float64)
    y = layer(x)
    y.backward(dy)
    arrays = {"x": x, "dy": dy, "y": y, "dx": x.grad} | learned | {f"d{name}": p.grad for name, p in learned.items()}
    return found | {name: array.detach().numpy().tolist() for name, array in arrays.items()}


if __name__ == "__main__":
    torch.manual_seed(0)
    examples = {"dora": example(use_dora=True), "pissa": example(init_lora_weights="pissa")}
    about = {"peft": peft.__version__, "torch": torch.__version__, "scale": ALPHA / RANK}
    path = Path(__file__).with_name("lora_variants.json")
    path.write_text(json.dumps(about | examples) + "\n")
