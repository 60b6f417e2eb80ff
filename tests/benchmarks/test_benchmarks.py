import re
import subprocess
import sys
from pathlib import Path

from minitransformer.methods import METHODS


def printed(script, *options):
    script = Path(__file__).with_name(script)
    done = subprocess.run([sys.executable, script, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_step_time_prints_a_ratio_for_every_method_and_batch():
    """Only that it runs: how fast a machine is fails no test."""
    out = printed("step_time.py", "--repeats", "1", "--batch-size", "2")
    rows = re.findall(r"^ *(\w+) +(2 x \d+) +([\d.]+) +([\d.]+) +([\d.]+)$", out, re.MULTILINE)
    methods = ("full", "lora", "dora", "ia3", "prompt", "prefix", "adapter", "parallel", "mam")
    assert [row[:2] for row in rows] == [(name, f"2 x {length}") for name in methods for length in (12, 64)]
    assert all(float(number) > 0 for row in rows for number in row[2:])


def test_memory_prints_a_part_of_full_fine_tuning_for_every_method():
    out = printed("memory.py", "--batch-size", "2")
    rows = re.findall(r"^(\w+)(.*?) +([\d.]+) +([\d.]+)$", out, re.MULTILINE)
    assert [row[0] for row in rows[: len(METHODS)]] == list(METHODS)
    part = {name + settings: float(part) for name, settings, _, part in rows}
    assert part["full"] == 1
    assert part["lst, reduction_factor=8"] <= 0.31


def test_real_speed_prints_a_ratio_for_steps_and_for_generation():
    out = printed("real_speed.py", "--repeats", "1", "--layers", "1", "--vocab-size", "64")
    rows = re.findall(r"^(step|generation), (.+?) +(\d+) +(\d+) +([\d.]+)$", out, re.MULTILINE)
    assert [row[:2] for row in rows] == [
        ("step", "loss at all tokens"),
        ("step", "loss at 4 of 24"),
        ("generation", "1 sequence"),
        ("generation", "8 sequences"),
    ]


def test_own_products_prints_a_ratio_for_every_method():
    out = printed("own_products.py", "--repeats", "1", "--batch-size", "2")
    rows = re.findall(r"^ *(\w+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)$", out, re.MULTILINE)
    assert [row[0] for row in rows] == list(METHODS)
    assert all(float(number) > 0 for row in rows for number in row[1:])
