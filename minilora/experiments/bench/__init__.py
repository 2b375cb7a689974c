"""How fast: training, generation and memory, beside the machine's matrix products, and beside PyTorch with PEFT."""
