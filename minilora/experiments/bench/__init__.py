"""How fast: training, generation and memory, compared with the machine's matrix products and with PyTorch and PEFT."""
