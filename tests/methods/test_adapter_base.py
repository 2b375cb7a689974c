"""An adapter knows the weights beside which it was trained, and is refused by others of the same shapes."""

import pytest

from methods.every import EVERY, tiny_adapted
from methods.tiny import same_bits, tiny_gpt, tiny_lora, weights_of
from minilora.files import load_arrays, save_arrays
from minilora.methods import FullConfig, load_adapter, merge_lora, save_adapter, set_adapter

each_method = pytest.mark.parametrize(
    "config", [c for c in EVERY.values() if c != FullConfig()], ids=[n for n, c in EVERY.items() if c != FullConfig()]
)


def base_in(path):
    return load_arrays(path, "lora")[1]["base"]


@each_method
def test_another_base_is_refused_and_stays_as_it_was(config, tmp_path):
    save_adapter(tiny_adapted(config), tmp_path / "file")
    other = tiny_gpt(seed=1)
    before = weights_of(other)
    with pytest.raises(ValueError, match=r"file was trained on another base: this GPT has the same shapes, but other"):
        load_adapter(other, tmp_path / "file")
    assert same_bits(weights_of(other), before)


@each_method
def test_another_base_is_taken_if_one_says_so(config, tmp_path):
    model, other = tiny_adapted(config), tiny_gpt(seed=1)
    save_adapter(model, tmp_path / "file")
    load_adapter(other, tmp_path / "file", other_base=True)
    learned = {p.name: p.data for p in model.trainable_parameters()}
    assert same_bits({name: weights_of(other)[name] for name in learned}, learned)


def test_full_fine_tuning_takes_the_place_of_any_base(tmp_path):
    model, other = tiny_adapted(FullConfig()), tiny_gpt(seed=1)
    save_adapter(model, tmp_path / "file")
    load_adapter(other, tmp_path / "file")
    assert same_bits(weights_of(other), weights_of(model))


def test_one_changed_weight_is_another_base(tmp_path):
    save_adapter(tiny_lora(), tmp_path / "file")
    other = tiny_gpt()
    other.blocks[0].mlp.fc_out.bias.data[3] += 1e-3
    with pytest.raises(ValueError, match="trained on another base"):
        load_adapter(other, tmp_path / "file")


def test_the_base_is_the_same_whatever_is_attached_active_or_merged(tmp_path):
    model = tiny_lora()
    save_adapter(model, tmp_path / "first")
    load_adapter(model, tmp_path / "first", name="second")
    save_adapter(model, tmp_path / "second", name="default")
    set_adapter(model, None)
    save_adapter(model, tmp_path / "switched off", name="default")
    set_adapter(model, "default")
    merge_lora(model)
    save_adapter(model, tmp_path / "merged")
    assert len({base_in(tmp_path / name) for name in ("first", "second", "switched off", "merged")}) == 1


def test_a_file_that_does_not_name_its_base_is_taken_by_any(tmp_path):
    save_adapter(tiny_lora(), tmp_path / "file")
    arrays, about = load_arrays(tmp_path / "file", "lora")
    save_arrays(tmp_path / "older", arrays, {"kind": "lora", "config": about["config"]})
    load_adapter(tiny_gpt(seed=1), tmp_path / "older")
