"""Our NF4 is bitsandbytes': the same codes, scales and numbers.

bitsandbytes and torch live in an environment of their own, whose Python MINILORA_PEER_PYTHON names; or it is in
.venv-torch.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from minilora.ops import dynamic_levels, fast, nf4_levels

HERE = Path(__file__).resolve().parent
PYTHON = os.environ.get("MINILORA_PEER_PYTHON") or str(HERE.parent.parent / ".venv-torch" / "bin" / "python")
HAS_IT = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ('torch', 'bitsandbytes'))))"


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    if not Path(PYTHON).is_file() or subprocess.run([PYTHON, "-c", HAS_IT], timeout=60).returncode:
        pytest.skip(f"no Python with bitsandbytes: {PYTHON} (MINILORA_PEER_PYTHON)")
    folder = tmp_path_factory.mktemp("bitsandbytes")
    w = np.random.default_rng(0).standard_normal((525, 128)).astype("float32") * 0.02
    # Of rows that do not divide into blocks of 64, bitsandbytes 0.50.2 takes the wrong scales on a CPU: so 128 columns.
    w[3] *= 40  # scales that are not all alike
    np.save(folder / "w.npy", w)
    command = [PYTHON, str(HERE / "peer_bitsandbytes.py"), str(folder / "w.npy"), str(folder / "results.npz")]
    subprocess.run(command, check=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    with np.load(folder / "results.npz") as results:
        return w, dict(results)


@pytest.mark.slow
def test_levels(peer):
    _, theirs = peer
    assert np.array_equal(np.array(nf4_levels(), "float32"), theirs["levels"])
    assert np.abs(np.array(dynamic_levels()) - theirs["dynamic_levels"]).max() < 1e-7


@pytest.mark.slow
def test_codes_scales_and_numbers_to_the_bit(peer):
    w, theirs = peer
    codes, absmax = fast.quantize_nf4(w)
    assert np.array_equal(codes, theirs["codes"])
    assert np.array_equal(absmax, theirs["absmax"])
    assert np.array_equal(fast.dequantize_nf4(codes, absmax, w.shape), theirs["w"])


@pytest.mark.slow
def test_double_quantisation(peer):
    w, theirs = peer
    codes, absmax = fast.quantize_nf4(w)
    scales = fast.quantize_scales(absmax)
    assert float(scales.mean) == pytest.approx(float(theirs["mean"]), rel=1e-6)  # the order of the sum differs
    assert np.allclose(scales.absmax2, theirs["absmax2"], rtol=1e-6)
    assert np.abs(scales.codes.astype(int) - theirs["scale_codes"]).max() <= 1  # a number at a midpoint
    assert (scales.codes == theirs["scale_codes"]).mean() > 0.99
    ours = fast.dequantize_nf4(codes, fast.dequantize_scales(scales), w.shape)
    assert np.linalg.norm(ours - theirs["w_twice"]) < 1e-3 * np.linalg.norm(w)
