"""Checkpoints as others write them: other names of fields, wrapped models, the RoBERTa family, a head in float16."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from interop.folders import GOLDEN, WEIGHTS, Folder
from minilora.interop import load_deberta, load_gpt2, load_roberta
from minilora.interop.foreign_files import rounded
from minilora.models import RobertaForClassification, RobertaForMaskedLM

THEIRS = {"n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads"}
THEIRS |= {"n_positions": "max_position_embeddings"}
LOAD = {
    "gpt2": load_gpt2,
    "roberta_classification": load_roberta,
    "roberta_masked_lm": load_roberta,
    "deberta_classification": load_deberta,
}


def logits_of(name, folder):
    """(ours, those that transformers gave) of a golden folder, or of a copy of it."""
    expected = load_file(GOLDEN / name / "expected.safetensors")
    inputs = [expected[key] for key in ("ids", "mask") if key in expected]
    return LOAD[name](folder, dtype="float64").forward(*inputs)[0], expected["logits"]


def assert_same_logits(name, folder):
    ours, theirs = logits_of(name, folder)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)


# ---- attribute_map


@pytest.mark.parametrize("renamed", [*([name] for name in THEIRS), list(THEIRS)], ids=str)
def test_fields_may_have_transformers_common_names(tmp_path, renamed):
    folder = Folder("gpt2", tmp_path / "gpt2")
    config = json.loads((folder.path / "config.json").read_text())
    folder.configure(*renamed, **{THEIRS[name]: config[name] for name in renamed})
    assert_same_logits("gpt2", folder.path)


def test_two_names_of_a_field_must_say_one_thing(tmp_path):
    folder = Folder("gpt2", tmp_path / "gpt2")
    folder.configure(hidden_size=12)
    assert_same_logits("gpt2", folder.path)
    folder.configure(hidden_size=24)
    with pytest.raises(ValueError, match="n_embd was 12 and hidden_size 24; both must be one number"):
        load_gpt2(folder.path)


# ---- wrapped models


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
@pytest.mark.parametrize("name", LOAD)
def test_names_of_a_wrapped_model_lose_its_prefix(tmp_path, name, prefix):
    folder = Folder(name, tmp_path / name)
    folder.rename(lambda tensor: prefix + tensor)
    assert_same_logits(name, folder.path)


def test_a_tensor_with_and_without_the_prefix_is_refused(tmp_path):
    folder = Folder("gpt2", tmp_path / "gpt2")
    name = "transformer.wte.weight"
    folder.write({**folder.tensors, f"module.{name}": folder.tensors[name]})
    with pytest.raises(ValueError, match=f"holds {name} twice, with and without 'module.'"):
        load_gpt2(folder.path)


# ---- the RoBERTa family


@pytest.mark.parametrize(("model_type", "start"), [("xlm-roberta", "XLMRoberta"), ("camembert", "Camembert")])
@pytest.mark.parametrize(
    ("name", "ending", "model_class"),
    [
        ("roberta_classification", "ForSequenceClassification", RobertaForClassification),
        ("roberta_masked_lm", "ForMaskedLM", RobertaForMaskedLM),
    ],
)
def test_the_family_computes_alike(tmp_path, model_type, start, name, ending, model_class):
    folder = Folder(name, tmp_path / name)
    folder.configure(model_type=model_type, architectures=[start + ending])
    assert type(load_roberta(folder.path)) is model_class
    assert_same_logits(name, folder.path)


def test_another_model_of_the_kind_is_refused(tmp_path):
    folder = Folder("roberta_masked_lm", tmp_path / "roberta")
    folder.configure(model_type="xlm-roberta-xl")
    message = "model_type was 'xlm-roberta-xl'; it must be 'roberta' or 'xlm-roberta' or 'camembert'"
    with pytest.raises(ValueError, match=message):
        load_roberta(folder.path)


# ---- a head in a coarser type


def write_mixed(path, tensors, head, dtype):
    """A safetensors file whose `head` is stored as float16 or bfloat16, next to float32."""
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    upper = (rounded(head, "BF16").astype("float32").view("uint32") >> 16).astype("uint16")
    save_file(arrays | {"lm_head.weight": head.astype("float16") if dtype == "F16" else upper}, path)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].replace(b'"U16"', b'"BF16"')  # a type that NumPy does not have
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_a_head_may_be_the_embedding_rounded(tmp_path, dtype):
    folder = Folder("gpt2", tmp_path / "gpt2")
    tensors = {name: array.astype("float32") for name, array in folder.tensors.items()}
    wte = tensors["transformer.wte.weight"]
    folder.write(tensors)
    alone = load_gpt2(folder.path).forward(np.array([[1, 2, 3]]))[0]
    write_mixed(folder.path / WEIGHTS, tensors, wte, dtype)
    assert np.array_equal(load_gpt2(folder.path).forward(np.array([[1, 2, 3]]))[0], alone)
    write_mixed(folder.path / WEIGHTS, tensors, wte * np.float32(1.01), dtype)
    with pytest.raises(ValueError, match="lm_head.weight differs from .*wte.weight, to which minilora ties it"):
        load_gpt2(folder.path)


def test_a_head_that_is_no_number_is_refused(tmp_path):
    folder = Folder("gpt2", tmp_path / "gpt2")
    folder.change(lm_head__weight=np.zeros((29, 12), "int64"))
    with pytest.raises(ValueError, match="lm_head.weight is I64; it must be one of F64"):
        load_gpt2(folder.path)


def test_rounding_is_to_nearest_and_ties_to_even():
    values = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-7, -(1 + 2**-8 + 2**-12)], "float32")
    assert rounded(values, "BF16").tolist() == [1.0, 1.0, 1 + 2**-6, 1 + 2**-7, -(1 + 2**-7)]
    assert rounded(np.array([1 + 2**-11, 70000.0]), "F16").tolist() == [1.0, np.inf]


# ---- transformers itself


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["XLMRoberta", "Camembert"])
@pytest.mark.parametrize("ending", ["ForMaskedLM", "ForSequenceClassification", "Model"])
def test_the_logits_are_those_of_transformers(tmp_path, family, ending):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=23,
        max_position_embeddings=11,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=20,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        type_vocab_size=1,
        num_labels=3,
    )
    model = getattr(transformers, family + ending)(config).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn_like(p)
    model.save_pretrained(tmp_path)
    ids, mask = torch.randint(3, 23, (3, 7)), torch.ones((3, 7), dtype=torch.long)
    ids[1, 5:], mask[1, 5:] = 1, 0
    with torch.no_grad():
        theirs = model(ids, mask)[0].numpy()
    ours = load_roberta(tmp_path, dtype="float64").forward(ids.numpy(), mask.numpy())[0]
    real = mask.numpy() == 1 if ours.ndim == 3 else slice(None)
    np.testing.assert_allclose(ours[real], theirs[real], rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_transformers_reads_the_common_names_as_we_do(tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = Folder("gpt2", tmp_path / "gpt2")
    config = json.loads((folder.path / "config.json").read_text())
    folder.configure(*THEIRS, **{theirs: config[name] for name, theirs in THEIRS.items()})
    model = transformers.GPT2LMHeadModel.from_pretrained(folder.path, dtype=torch.float64).eval()
    ids = np.array([[3, 1, 4, 1, 5]])
    with torch.no_grad():
        theirs = model(torch.from_numpy(ids)).logits.numpy()
    np.testing.assert_allclose(load_gpt2(folder.path, dtype="float64").forward(ids)[0], theirs, rtol=0, atol=1e-10)
