"""The script that says where the time of a step goes."""

import json
import subprocess
import sys
from pathlib import Path

WHERE = Path(__file__).with_name("where.py")


def test_each_kind_of_op_takes_time(tmp_path):
    """The engine's ops move from module to module; a kind that the script no longer sees would stand there as 0."""
    command = [sys.executable, str(WHERE), "--shapes", "S1", "--steps", "1", "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    ms = json.loads((tmp_path / "where.json").read_text())["ms"]["S1"]
    assert len(ms) == 7 and min(ms.values()) > 0
