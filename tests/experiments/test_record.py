import numpy as np

from experiments.tiny import byte_gpt
from minilora.experiments.record import weights_id


def test_the_id_of_the_weights_changes_with_any_of_them():
    model, same, other = byte_gpt(), byte_gpt(), byte_gpt()
    assert weights_id(model) == weights_id(same) and len(weights_id(model)) == 12
    other.parameters()[-1].data[-1] = np.nextafter(other.parameters()[-1].data[-1], np.float32(9))
    assert weights_id(other) != weights_id(model)
