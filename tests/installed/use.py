"""Uses a minilora that is installed, as who has installed it does:  python tests/installed/use.py FOLDER_OF_THE_SDIST

`make matrix` runs it in clean environments, with the wheel that was made from the sdist. The checkout is not to be
seen: the package, its assets and its exercises are those of site-packages.
"""

import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

import numpy

import minilora
from minilora.methods import lora_layers

LORA = minilora.LoRAConfig(rank=2, alpha=4, targets=("q_proj",))


def run(folder, *command):
    """What a command prints; it is run in a folder, and has to end with status 0 and without a word of warning."""
    options = {"cwd": folder, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, *command], **options)
    assert done.returncode == 0 and "Warning" not in done.stderr, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def use_the_package(folder):
    """An adapter of the bundled decoder is saved, and loaded into another one."""
    ids = numpy.arange(12)[None]
    first, second = minilora.load_bundled("decoder"), minilora.load_bundled("decoder")
    minilora.apply_lora(first, LORA, rng=numpy.random.default_rng(0))
    for layer in lora_layers(first).values():
        layer.B.data += 0.1
    minilora.save_adapter(first, folder / "adapter.safetensors")
    minilora.load_adapter(second, folder / "adapter.safetensors")
    assert numpy.array_equal(first.forward(ids)[0], second.forward(ids)[0])
    assert minilora.load_bundled("encoder").config.n_layer > 0


def use_the_commands(folder):
    """The command line, from the script that was installed with the package."""
    scripts = Path(sysconfig.get_path("scripts"))
    minilora_script = str(next(scripts.glob("minilora*")))
    assert "demo" in run(folder, minilora_script, "--help")
    assert "lora_linear_backward" in run(folder, minilora_script, "exercises", "list")
    run(folder, minilora_script, "exercises", "start", "1")
    assert "rank" in run(folder, minilora_script, "rank", "1,2;2,5;2,4")
    (folder / "text.txt").write_text("".join(f"Line {i} says something of its own.\n" for i in range(400)))
    run(folder, minilora_script, "demo", "--text", "text.txt", "--steps", "2", "--out", "figures", "--runs", "demo")
    assert (folder / "figures" / "demo.json").exists() and (folder / "figures" / "loss.png").exists()
    assert run(folder, minilora_script, "generate", "The", "--adapter", "demo/lora", "--max-tokens", "8")


def collect_the_tests(folder, sdist):
    """All tests are in the sdist, and can be imported from there."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return run(folder / sdist.name.removesuffix(".tar.gz"), "-m", "pytest", "--collect-only", "-q").splitlines()[-1]


def main(sdists):
    here, installed = Path(minilora.__file__).resolve(), Path(sysconfig.get_path("purelib")).resolve()
    assert installed in here.parents, f"minilora is imported from {here}, not from {installed}"
    (sdist,) = Path(sdists).glob("minilora-*.tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        use_the_package(Path(folder))
        use_the_commands(Path(folder))
        collected = collect_the_tests(Path(folder), sdist)
    print(f"minilora {minilora.__version__}, Python {sys.version.split()[0]}, NumPy {numpy.__version__}: {here.parent}")
    print(f"{sdist.name}: {collected}")


if __name__ == "__main__":
    main(*sys.argv[1:])
