"""Verifying methods: the course's own keep every promise, planted wrong ones are named, broken files get an answer."""

import json
import re
from pathlib import Path

import pytest

from minitransformer.__main__ import main, parse
from minitransformer.experiments import own, verify
from minitransformer.experiments.bench import Bench
from minitransformer.experiments.promises import PROMISES
from minitransformer.methods import METHODS

SLOW = {"compiled", "process"}  # seconds each; once below, and in test_contract

RANDOM = '''
import torch
from torch import nn
from minitransformer.method import Method
from minitransformer.surgery import (
    MATRICES, Attached, beside, check_plain, check_positive, check_scale, check_targets, freeze, linear_layer,
    linear_names, matrix_shape, replace_modules,
)


class Beside(Attached):
    """A low-rank path whose way down is drawn from a seed and frozen."""

    def __init__(self, base, rank, alpha, seed):
        super().__init__(base)
        like = beside(base.weight)
        generator = torch.Generator().manual_seed(seed)
        down = torch.randn(rank, base.in_features, generator=generator, device="cpu")
        self.register_buffer("down", down.to(**like), persistent=False)
        self.middle = nn.Parameter(torch.ones(rank, **like))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank, **like))
        self.scaling = alpha / rank

    def forward(self, x):
        features = self.middle * (x.to(self.down.dtype) @ self.down.T)
        return self.base(x) + (self.scaling * features @ self.up.T).to(x.dtype)

    def merged(self):
        added = self.scaling * self.up @ (self.middle[:, None] * self.down)
        return linear_layer((self.base.weight + added).to(self.base.weight.dtype), self.base.bias)


def attach(model, rank=3, alpha=6.0, seed=1, target_modules=MATRICES):
    check_plain(model)
    check_positive(rank=rank, seed=seed)
    check_scale(alpha=alpha)
    check_targets(target_modules, linear_names(model))
    freeze(model)
    replace_modules(model, target_modules, lambda linear: Beside(linear, rank, alpha, seed))
    return model


def count(config, rank, alpha, seed, target_modules):
    return config.n_layer * sum(rank + rank * matrix_shape(config, name)[1] for name in target_modules)


def merge(adapted):
    for name, module in list(adapted.named_modules()):
        if isinstance(module, Beside):
            adapted.set_submodule(name, module.merged())
    return adapted


METHOD = Method("beside", attach, count, learning_rate=1e-2, fold=merge)
'''

VIRTUAL = """
from dataclasses import replace

import torch
from torch import nn
from minitransformer.method import Method
from minitransformer.surgery import Attached, beside, check_plain, check_room, freeze


class Prompted(Attached):
    def __init__(self, base, p):
        super().__init__(base)
        self.config = replace(base.config, block_size=base.config.block_size - p)
        self.prompt = nn.Parameter(torch.randn(p, base.config.n_embd, **beside(base.wte.weight)))

    def forward(self, idx):
        p = len(self.prompt)
        real = self.base.embed(idx, start=p)
        virtual = (self.prompt + self.base.wpe.weight[:p]).to(real.dtype)
        x = torch.cat([virtual.expand(len(idx), -1, -1), real], dim=1)
        return self.base.unembed(self.base.transform(x)[:, p:])


def attach(model, num_virtual_tokens=4):
    check_plain(model)
    check_room(model.config, num_virtual_tokens)
    freeze(model)
    return Prompted(model, num_virtual_tokens)


def count(config, num_virtual_tokens):
    return num_virtual_tokens * config.n_embd


METHOD = Method("prompted", attach, count, learning_rate=1e-1)
"""

# What is wrong -> the source, what stands there, what stands there instead, the promise that names it, its words.
WRONG = {
    "starts at random": (RANDOM, "torch.zeros(base.out", "torch.ones(base.out", "start", "with 0 in every 'up'"),
    "base not frozen": (RANDOM, "    freeze(model)\n", "", "frozen", "trains"),
    "all frozen": (
        RANDOM,
        "    return model\n\n\ndef count",
        "    freeze(model)\n    return model\n\n\ndef count",
        "attach",
        "nothing trains",
    ),
    "a plain tensor": (RANDOM, "nn.Parameter(torch.ones(rank, **like))", "torch.ones(rank, **like)", "count", "train,"),
    "nothing returned": (RANDOM, "    return model\n\n\ndef count", "\n\ndef count", "attach", "gives NoneType"),
    "writes into the base": (
        RANDOM,
        "        self.scaling = alpha",
        "        base.weight.data.mul_(0.5)\n        self.scaling = alpha",
        "frozen",
        "was changed by attaching",
    ),
    "gradient cut off": (RANDOM, "self.middle * (x", "self.middle.detach() * (x", "gradients", "no gradient reaches"),
    "both factors zero": (RANDOM, "torch.ones(rank, **like)", "torch.zeros(rank, **like)", "gradients", "not moved"),
    "never added": (RANDOM, "return self.base(x) + (", "return self.base(x) + 0 * (", "gradients", "leave the logits"),
    "sees the future": (
        RANDOM,
        "features = self.middle * (x",
        "x = x - x.mean(dim=1, keepdim=True)\n        features = self.middle * (x",
        "causal",
        "change the logits before",
    ),
    "mixes rows": (
        RANDOM,
        "features = self.middle * (x",
        "features = self.middle * x.std() * (x",
        "causal",
        "",
    ),
    "counts the middle once": (RANDOM, "sum(rank + rank *", "sum(rank *", "count", "is left out"),
    "counts a block too much": (
        RANDOM,
        "config.n_layer * sum",
        "(1 + config.n_layer) * sum",
        "count",
        "does not train",
    ),
    "a name that a config has not": (RANDOM, "config.n_layer * sum", "config.depth * sum", "count", "n_head, n_embd"),
    "counts 4 d": (
        RANDOM,
        "matrix_shape(config, name)[1]",
        '{"up_proj": 4 * config.n_embd}.get(name, config.n_embd)',
        "count",
        "holds for n_inner = 4 n_embd",
    ),
    "counts with a fraction": (
        RANDOM,
        "return config.n_layer *",
        "return 1.0 * config.n_layer *",
        "count",
        "whole number",
    ),
    "reads a number": (
        RANDOM,
        "        self.scaling = alpha / rank",
        "        self.scaling = alpha / rank if base.weight.norm().item() >= 0 else 1",
        "meta",
        "meta device fails",
    ),
    "settings unchecked": (RANDOM, "    check_scale(alpha=alpha)\n", "", "settings", "alpha=nan is taken"),
    "targets unchecked": (
        RANDOM,
        "    check_targets(target_modules, linear_names(model))\n",
        "",
        "settings",
        "target_modules=",
    ),
    "froze before it checked": (
        RANDOM,
        "    check_scale(alpha=alpha)\n",
        "    freeze(model)\n    check_scale(alpha=alpha)\n",
        "settings",
        "is refused, but whether",
    ),
    "alpha unused": (RANDOM, "self.scaling = alpha / rank", "self.scaling = 2.0", "settings", "changes nothing"),
    "on top of another": (RANDOM, "    check_plain(model)\n", "", "second", "on top of a LoRA"),
    "no Attached": (
        RANDOM,
        "class Beside(Attached)",
        "class Plain(nn.Module):\n    def __init__(self, base):\n        super().__init__()\n        self.base = base\n\n\n"
        "class Beside(Plain)",
        "frozen",
        "is not found",
    ),
    "a copy of the base": (
        RANDOM,
        "super().__init__(base)",
        "super().__init__(linear_layer(base.weight, base.bias).requires_grad_(False))",
        "detached",
        "no copy",
    ),
    "merged without scaling": (RANDOM, "added = self.scaling * self.up", "added = self.up", "merge", "differ by"),
    "merged without the bias": (RANDOM, "dtype), self.base.bias)", "dtype), 0 * self.base.bias)", "merge", "differ by"),
    "merged by half": (
        RANDOM,
        "if isinstance(module, Beside):",
        'if isinstance(module, Beside) and "mlp" in name:',
        "merge",
        "Beside",
    ),
    "merged into 32 bits": (
        RANDOM,
        "linear_layer((self.base.weight + added).to(self.base.weight.dtype), self",
        "linear_layer(self.base.weight + added, self",
        "merge",
        "no longer torch.bfloat16",
    ),
    "drawn without a seed": (RANDOM, ", generator=generator, device", ", device", "files", "draw it from a seed"),
    "holds a lambda": (
        RANDOM,
        "        self.scaling = alpha",
        "        self.scale = lambda x: x\n        self.scaling = alpha",
        "copies",
        "pickle fails",
    ),
    "holds its own tensors twice": (
        RANDOM,
        "        self.scaling = alpha",
        "        self.run = ForEver(self.up)\n        self.scaling = alpha",
        "copies",
        "shares numbers",
    ),
    "16 bits beside 16": (
        RANDOM,
        "like = beside(base.weight)",
        'like = {"device": base.weight.device, "dtype": base.weight.dtype}',
        "dtypes",
        "not torch.float32",
    ),
    "no cast": (RANDOM, "x.to(self.down.dtype)", "x", "dtypes", "it fails"),
    "counts its calls": (
        RANDOM,
        "features = self.middle * (x",
        "self.calls = getattr(self, 'calls', 0) + 1\n        features = self.middle * (1 + (self.calls > 1)) * (x",
        "checkpointing",
        "computes something else",
    ),
    "dropout by hand": (
        RANDOM,
        "features = self.middle * (x",
        "features = torch.rand(1).item() * self.middle * (x",
        "merge",
        "",
    ),
    "answers for virtual tokens": (VIRTUAL, "transform(x)[:, p:])", "transform(x))", "attach", "cut them off"),
    "text at position 0": (VIRTUAL, "start=p)", "start=0)", "positions", "share positions"),
    "room not taken": (
        VIRTUAL,
        "replace(base.config, block_size=base.config.block_size - p)",
        "base.config",
        "positions",
        "a text of 64 tokens fails",
    ),
    "no config": (VIRTUAL, "        self.config = replace", "        config = replace", "positions", "as its `config`"),
    "fills the block": (VIRTUAL, "    check_room(model.config, num_virtual_tokens)\n", "", "settings", "num_virtual"),
}
SHIFT = """
from torch import nn, zeros
from minitransformer.method import Method
from minitransformer.surgery import Attached, beside, check_plain, freeze, linear_layer, merge_modules, replace_modules


class Shift(Attached):
    def __init__(self, base):
        super().__init__(base)
        self.shift = nn.Parameter(zeros(base.out_features, **beside(base.weight)))

    def forward(self, x):
        return self.base(x) + self.shift.to(x.dtype)

    def merged(self):
        return linear_layer(self.base.weight, (self.base.bias - self.shift).to(self.base.weight.dtype))


def attach(model):
    check_plain(model)
    freeze(model)
    replace_modules(model, ["k_proj"], Shift)
    return model


METHOD = Method("shift", attach, lambda config: config.n_layer * config.n_embd, learning_rate=1e-2, fold=merge_modules)
"""
TWICE = '''
class ForEver(dict):
    """Keeps a tensor for ever, copies or not."""

    def __init__(self, up):
        self["up"] = up

    def __deepcopy__(self, memo):
        return self
'''


def method_of(source, tmp_path, name="mine"):
    file = tmp_path / f"{name}.py"
    file.write_text(source, encoding="utf-8")
    return own.load_method(file)


def check(method, *promises):
    bench = Bench(method)
    return {name: verify.check(PROMISES[name], bench) for name in promises}


@pytest.mark.parametrize("source", [RANDOM, VIRTUAL, *METHODS.values()], ids=["beside", "prompted", *METHODS])
def test_right_method_keeps_every_promise(source, tmp_path):
    method = method_of(source, tmp_path) if isinstance(source, str) else source
    found = check(method, *[name for name in PROMISES if name not in SLOW])
    assert {name: finding.found for name, finding in found.items() if finding.state == "BROKEN"} == {}
    elsewhere = {"prompt", "prefix", "mam", "lst", "prompted"}  # virtual tokens, and a side network
    assert (found["start"].state == "noted") == (method.name in elsewhere)


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_method_is_named(wrong, tmp_path):
    source, old, new, promise, words = WRONG[wrong]
    assert source.count(old) >= 1
    source = source.replace(old, new)
    if "ForEver" in new:
        source = source.replace("class Beside", TWICE + "\n\nclass Beside").replace("@ self.up.T", '@ self.run["up"].T')
    finding = check(method_of(source, tmp_path), promise)[promise]
    assert finding.state == "BROKEN", finding
    assert words in finding.found + finding.probably
    assert finding.probably and ("mine.py, line" in finding.look or "Method" in finding.look)


def test_a_bias_on_the_keys_is_told_from_one_that_is_never_added(tmp_path):
    finding = check(method_of(SHIFT, tmp_path), "gradients")["gradients"]
    assert finding.state == "BROKEN" and "softmax" in finding.probably


def test_wrong_merge_leads_to_the_module_and_not_to_the_function_that_calls_it(tmp_path):
    finding = check(method_of(SHIFT.replace("k_proj", "v_proj"), tmp_path), "merge")["merge"]
    assert finding.state == "BROKEN" and finding.look.startswith("merge: Shift.merged (mine.py, line")


def test_of_several_broken_promises_the_first_is_named():
    broken = [verify.Finding(name, "", "BROKEN", "") for name in ("frozen", "count")]
    assert "begin with 'frozen'" in verify.Report("mine", "", tuple(broken)).verdict
    assert "begin" not in verify.Report("mine", "", tuple(broken[:1])).verdict


# ---- files ------------------------------------------------------------------------------------------------------------


def test_file_is_verified_in_a_process_of_its_own_and_as_json(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text("print('hello')\n" + RANDOM, encoding="utf-8")
    assert main(["verify", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["method"], told["kept"], told["broken"]) == ("beside", True, [])
    assert [finding["promise"] for finding in told["findings"]] == list(PROMISES)
    assert {finding["state"] for finding in told["findings"]} == {"kept"}
    assert "beside" not in METHODS


def test_wrong_file_is_an_exit_code_and_says_where_to_look(tmp_path, capsys):
    file = tmp_path / "mine.py"
    source = RANDOM.replace("        down = torch", "        raise KeyError('gone')\n        down = torch")
    file.write_text(source, encoding="utf-8")
    assert main(["verify", str(file)]) == 1
    out = " ".join(capsys.readouterr().out.split())
    line = 1 + source.splitlines().index("        raise KeyError('gone')")
    assert f"KeyError: 'gone' (mine.py, line {line}: raise" in out
    assert "not yet a method" in out and "attach comes first" in out


UNREADABLE = {
    "missing": (None, "is no Python file"),
    "empty": ("", "makes no method"),
    "syntax error": ("def attach(:\n", "SyntaxError: .*line 1"),
    "exception": ("import torch\n1 / 0\n", "ZeroDivisionError: .*line 2: 1 / 0"),
    "unknown module": ("import no_such_module\n", "ModuleNotFoundError: No module named"),
    "sys.exit": ("import sys\nsys.exit(0)\n", "SystemExit: 0 .*line 2"),
    "another METHOD": ("METHOD = 'lora'\n", "makes no method"),
    "null bytes": ("\0\0\0", "SyntaxError"),
    "deep recursion": ("def f():\n    f()\nf()\n", "RecursionError"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_file_that_makes_no_method_is_refused_with_the_line(kind, tmp_path):
    source, words = UNREADABLE[kind]
    if source is None:
        with pytest.raises(ValueError, match=words):
            own.load_method(tmp_path / "mine.py")
        return
    with pytest.raises(ValueError, match=words):
        method_of(source, tmp_path)


@pytest.mark.parametrize(
    ("source", "seconds", "words"),
    [
        ("1 / 0\n", 60, "ZeroDivisionError"),
        ("import os\nos._exit(0)\n", 60, "exit code 0"),
        ("while True:\n    pass\n", 3, "stopped after 3 s"),
    ],
    ids=["error", "os._exit", "endless loop"],
)
def test_file_that_fails_hangs_or_ends_python_gets_an_answer(source, seconds, words, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(source, encoding="utf-8")
    report = verify.verify(file, seconds)
    [finding] = report.findings
    assert not report.kept and report.broken == ["load"]
    assert words in finding.found and "Traceback" not in str(report)


@pytest.mark.parametrize(
    ("line", "seconds", "words"),
    [("os._exit(3)", 60, "exit code 3"), ("while True: pass", 3, "stopped after 3 s")],
    ids=["os._exit", "endless loop"],
)
def test_forward_that_hangs_or_ends_python_gets_an_answer(line, seconds, words, tmp_path):
    file = tmp_path / "mine.py"
    forward = "    def forward(self, x):\n"
    file.write_text("import os\n" + RANDOM.replace(forward, f"{forward}        {line}\n"), encoding="utf-8")
    report = verify.verify(file, seconds)
    assert report.method == "beside" and report.broken == ["attach"]
    assert words in report.findings[0].found
    assert [finding.state for finding in report.findings[1:]] == ["skipped"] * (len(PROMISES) - 1)


def test_sys_exit_in_forward_is_an_answer(tmp_path):
    source = RANDOM.replace("    def forward(self, x):\n", "    def forward(self, x):\n        raise SystemExit(0)\n")
    finding = check(method_of(source, tmp_path), "attach")["attach"]
    assert finding.state == "BROKEN" and "SystemExit: 0" in finding.found


def test_method_of_the_course_is_found_by_its_name():
    assert own.find("lora") is METHODS["lora"]


def test_notebook_shows_the_report_as_a_table(monkeypatch):
    import minitransformer as mt

    monkeypatch.setattr(verify, "PROMISES", {name: PROMISES[name] for name in ("attach", "start", "merge")})
    report = mt.verify(METHODS["prompt"])
    page = report._repr_html_()
    assert page.count("<tr>") == 3 and "<code>merge</code>" in page and "every promise is kept" in page
    assert report.kept and [finding.state for finding in report.findings] == ["kept", "noted", "noted"]


def test_checking_draws_no_random_numbers_of_the_caller():
    import torch

    before = torch.get_rng_state()
    list(zip(range(4), verify.findings(Bench(METHODS["prompt"])), strict=False))
    assert torch.equal(torch.get_rng_state(), before)


# ---- the submissions of the final project -----------------------------------------------------------------------------


def submission(name):
    file = Path(__file__).parents[1] / "docs" / "project" / f"{name}.py"
    return check(own.load_method(file), *[promise for promise in PROMISES if promise not in SLOW])


def test_good_submission_keeps_every_promise():
    assert [name for name, finding in submission("good").items() if finding.state == "BROKEN"] == []


def test_wrong_submission_breaks_the_promises_that_its_marks_name():
    page = (Path(__file__).parents[1] / "docs" / "project.md").read_text(encoding="utf-8")
    named = re.search(r"breaks (`.*?`)\.", page.split("### Wrong")[1], re.DOTALL)[1]
    broken = [name for name, finding in submission("wrong").items() if finding.state == "BROKEN"]
    assert re.findall(r"`(\w+)`", named) == broken


def test_page_of_the_project_leads_somewhere_and_its_commands_exist():
    page = Path(__file__).parents[1] / "docs" / "project.md"
    text = page.read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
    assert links and [link for link in links if not (page.parent / link).exists()] == []
    for call in re.findall(r"python -m minitransformer ([^`\n]*)", text):
        assert parse(call.split()).command == call.split()[0]
