import re
import subprocess
import sys
from pathlib import Path


def test_step_time_prints_a_ratio_for_every_method_and_batch():
    """Only that it runs: how fast a machine is fails no test."""
    script = Path(__file__).with_name("step_time.py")
    done = subprocess.run([sys.executable, script, "--repeats", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^ *(\w+) +(32 x \d+) +([\d.]+) +([\d.]+) +([\d.]+)$", done.stdout, re.MULTILINE)
    assert [row[:2] for row in rows] == [(name, f"32 x {length}") for name in ("full", "lora") for length in (12, 64)]
    assert all(float(number) > 0 for row in rows for number in row[2:])
