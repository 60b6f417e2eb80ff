"""Statements of the claims ledger that a few lines settle."""

import ast
import importlib
import inspect
from pathlib import Path

import peft
import torch

import minitransformer as mt
from minitransformer.methods import lora
from minitransformer.model import GPTConfig
from minitransformer.tasks import LADDER

CONFIG = GPTConfig(vocab_size=11, block_size=24, n_layer=2, n_head=2, n_embd=8)


def with_random_additions(method, **settings):
    """A random GPT with a method on it, all that trains drawn anew, and a copy of the GPT as it was."""
    torch.manual_seed(3)
    base = mt.GPT(CONFIG).double()
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    adapted = mt.attach(base, method, **settings)
    for weight in adapted.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.3)
    return adapted, before


def test_a_soft_prompt_is_context_and_no_change_of_the_model():
    adapted, before = with_random_additions("prompt", num_virtual_tokens=5)
    text = torch.randint(11, (3, 9))
    plain = mt.GPT(CONFIG).double()
    plain.load_state_dict(before)
    vectors = torch.cat([adapted.prompt.expand(3, -1, -1), plain.wte(text)], dim=1)  # (3, 5 + 9, d)
    x = vectors + plain.wpe.weight[:14]
    expected = plain.unembed(plain.transform(x))[:, 5:]
    assert torch.allclose(adapted(text), expected, atol=1e-12)
    assert not torch.allclose(adapted(text), plain(text), atol=1e-2)  # the context does something
    assert all(torch.equal(weight, before[name]) for name, weight in adapted.base.state_dict().items())


def test_a_soft_prompt_acts_on_the_states_of_the_text_in_every_block():
    adapted, _ = with_random_additions("prompt", num_virtual_tokens=5)
    text, base = torch.randint(11, (3, 9)), adapted.base
    without = base.embed(text, start=5)  # (3, 9, d): where the text stands behind a prompt
    virtual = adapted.prompt + base.wpe.weight[:5]  # (5, d)
    prompted = torch.cat([virtual.expand(3, -1, -1), without], dim=1)  # (3, 5 + 9, d)
    assert torch.equal(prompted[:, 5:], without)
    for block in base.blocks:
        prompted, without = block(prompted), block(without)
        assert ((prompted[:, 5:] - without).norm(dim=-1) > 1e-3 * without.norm(dim=-1)).all()
    assert torch.allclose(base.unembed(prompted)[:, 5:], adapted(text), atol=1e-12)


def added_lengths(rung, steps):
    """What each trained adapter adds, as a part of the length of what passes through it, in the order of the blocks."""
    torch.manual_seed(0)
    adapted = mt.attach(mt.load_base("tiny"), "adapter")
    mt.train(adapted, LADDER[rung], steps, learning_rate=1e-2)
    inputs, _ = LADDER[rung].batch(64, torch.Generator().manual_seed(1))
    lengths = []

    def measure(adapter, reads, gives):
        lengths.append(((gives - reads[0]).norm(dim=-1) / reads[0].norm(dim=-1)).mean().item())

    for block in adapted.blocks:
        for sublayer in (block.attn, block.mlp):
            sublayer.adapter.register_forward_hook(measure)
    with torch.no_grad():
        adapted(inputs)
    return lengths


def test_adapters_add_a_little_or_more_than_they_read():
    called_up, put_together = added_lengths("recall", 60), added_lengths("compose", 160)
    assert sum(0.1 < length < 0.3 for length in called_up) > 3  # most of six, about a fifth
    assert max(called_up) < 1 < max(put_together)


def test_ia3_is_in_the_graph_until_it_is_folded_in():
    adapted, before = with_random_additions("ia3")
    assert sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad) == 2 * (2 * 8 + 32)
    folded = mt.merge(adapted)
    assert folded.state_dict().keys() == before.keys()


def test_peft_optimises_a_prefix_directly_by_default():
    config = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)
    assert config.prefix_projection is False


def test_changes_of_a_lora_are_no_subspace():
    changes = []
    for seed in (0, 1):
        layer = lora.LoRALinear(torch.nn.Linear(6, 6).double(), rank=1, alpha=3.0)
        torch.manual_seed(seed)
        torch.nn.init.normal_(layer.lora_A)
        torch.nn.init.normal_(layer.lora_B)
        changes.append((layer.merged_weight() - layer.base.weight).detach())
    ranks = [torch.linalg.matrix_rank(change, tol=1e-9).item() for change in (*changes, changes[0] + changes[1])]
    assert ranks == [1, 1, 2]  # a subspace would hold the sum of two of its members


def test_few_numbers_can_move_every_weight():
    moved, total = {}, None
    for method, settings in (("intrinsic", {"dimension": 10}), ("lora", {"rank": 1, "target_modules": ["q_proj"]})):
        adapted, before = with_random_additions(method, **settings)
        after = mt.merge(adapted).state_dict()
        total = sum(weight.numel() for weight in before.values())
        moved[method] = sum((after[name] != weight).sum().item() for name, weight in before.items())
    assert moved["intrinsic"] == total
    assert moved["lora"] < total / 10


def lines_that_run(module):
    """Lines of a module that hold a statement, without docstrings and imports."""
    tree = ast.parse(Path(inspect.getfile(module)).read_text(encoding="utf-8"))
    lines = set()
    for node in ast.walk(tree):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and not text and not isinstance(node, ast.Import | ast.ImportFrom):
            lines.add(node.lineno)
    return len(lines)


def test_prompt_tuning_takes_the_fewest_lines():
    modules = {
        name: importlib.import_module(f"minitransformer.methods.{name}") for name in mt.METHODS if name != "full"
    }
    lines = {name: lines_that_run(module) for name, module in modules.items()}
    shortest, second = sorted(lines, key=lines.get)[:2]
    assert shortest == "prompt"
    assert lines[second] > lines["prompt"]
