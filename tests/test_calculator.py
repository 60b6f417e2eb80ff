"""The calculator's formulas against `Method.count` and the memory budget, on models that they were not solved on; and its page."""

import importlib.util
import random
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from browser import needs_chromium, needs_node, opened, run_js

from minitransformer.checkpoints import load_base
from minitransformer.experiments.scale import attach_without_memory, memory_budget
from minitransformer.measure import kept_for_backward
from minitransformer.methods import METHODS
from minitransformer.model import GPT
from minitransformer.real import GPT2, GPT2Config, Llama, LlamaConfig, bytes_kept, to_four_bits
from minitransformer.real.llama import remembering

SITE = Path(__file__).parents[1] / "site"
PAGE = SITE / "extra" / "calculator"

spec = importlib.util.spec_from_file_location("calculator", SITE / "calculator.py")
calculator = importlib.util.module_from_spec(spec)
spec.loader.exec_module(calculator)

SCRIPTS = "\n".join((PAGE / name).read_text(encoding="utf-8") for name in ("formulas.js", "calculator.js"))
SEVEN_BILLION = LlamaConfig(vocab_size=32_000, block_size=4096, n_layer=32, n_head=32, n_embd=4096, n_inner=11_008)
SMALL = LlamaConfig(vocab_size=50, block_size=32, n_layer=3, n_head=4, n_embd=64, n_inner=192, n_kv_head=2)
TIED_LLAMA = LlamaConfig(
    vocab_size=61, block_size=40, n_layer=3, n_head=4, n_embd=48, n_inner=80, n_kv_head=2, tied=True
)
TIED_GPT = GPT2Config(vocab_size=61, block_size=40, n_layer=3, n_head=4, n_embd=48, n_inner=80)
SETTINGS = {"rank": 3, "bottleneck": 5, "num_virtual_tokens": 6, "dimension": 100, "reduction_factor": 2}


def dimensions(config):
    """A config as the page writes it."""
    kind = "Llama" if isinstance(config, LlamaConfig) else "GPT"
    names = {"L": "n_layer", "d": "n_embd", "h": "n_head", "f": "n_inner", "V": "vocab_size", "S": "block_size"}
    sizes = {symbol: getattr(config, name) for symbol, name in names.items()}
    return {
        "kind": kind,
        "k": getattr(config, "kv_width", config.n_embd),
        "tied": getattr(config, "tied", False),
        **sizes,
    }


def cost(folder, config, choice, settings, batch=(1, 16), four_bits=False):
    """What the page says."""
    body = "return costOf(model, choice, settings, { sequences: B, tokens: T }, four);"
    given = {"model": dimensions(config), "choice": choice, "settings": settings, "four": four_bits}
    return run_js(SCRIPTS, folder, body, **given, B=batch[0], T=batch[1])


def attached(config, choice, settings, kind):
    """The method on the meta device, as the page's choice says."""
    method, names, place = calculator.CHOICES[choice]
    own = {name: settings[name] for name in names} | calculator.targets("Llama" if kind is Llama else "GPT", place)
    return attach_without_memory(METHODS[method], config, kind=kind, **own)


def every_choice(kinds=("GPT", "Llama")):
    return pytest.mark.parametrize(
        ("kind", "choice"), [(kind, choice) for kind in kinds for choice in calculator.CHOICES]
    )


@pytest.fixture(scope="module")
def formulas(tmp_path_factory):
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    return run_js(SCRIPTS, tmp_path_factory.mktemp("formulas"), "return FORMULAS;")


@every_choice()
def test_formulas_are_right_on_models_that_they_were_not_solved_on(formulas, kind, choice):
    """Larger ones, with other draws; a term too few or a coefficient off shows in every one."""
    draw = random.Random(f"another {kind} {choice}")
    config, settings = calculator.some_model(kind, calculator.CHOICES[choice][1], draw)
    config = type(config)(**{**asdict(config), "n_layer": 7, "vocab_size": 101, "block_size": 64})
    sizes = calculator.symbols_of(config, settings, 5, 17)

    def value(formula):
        return sum(n * calculator.prod(sizes[s] for s in names.split()) for n, names in formula)

    found = formulas[kind][choice]
    assert value(found["trained"]) == calculator.count(kind, choice, (config, settings), (5, 17))
    assert value(found["kept"]) == calculator.kept(kind, choice, (config, settings), (5, 17))


def test_file_of_formulas_is_what_the_generator_writes(formulas):
    assert list(formulas) == list(calculator.KINDS)
    for kind in formulas:
        assert list(formulas[kind]) == list(calculator.CHOICES)
        for choice, (method, settings, _) in calculator.CHOICES.items():
            found = dict(formulas[kind][choice])
            draw = random.Random(f"{kind} {choice}")
            trained = calculator.solve(calculator.count, calculator.weights_products, kind, choice, draw)
            assert found.pop("kept")
            assert found == {
                "method": method,
                "settings": list(settings),
                "mergeable": METHODS[method].mergeable,
                "trained": [list(term) for term in trained],
            }
    assert {method for method, _, _ in calculator.CHOICES.values()} == set(METHODS)


def test_what_is_no_sum_of_such_products_is_refused():
    def bent(kind, choice, model, batch):
        return calculator.count(kind, choice, model, batch) + model[0].n_layer ** 3

    with pytest.raises(ArithmeticError, match="LoRA on q and v on a GPT"):
        calculator.solve(bent, calculator.weights_products, "GPT", "LoRA on q and v", random.Random(0))


@needs_node
@pytest.mark.parametrize("choice", ["LoRA on q and v", "ladder side tuning"])
def test_seven_billion_costs_what_lesson_12_says(tmp_path, choice):
    settings = {"rank": 8, "reduction_factor": 8}
    found = cost(tmp_path, SEVEN_BILLION, choice, settings, (1, 2048))
    assert found["all"] == 6_738_415_616
    assert found["training"] == memory_budget(attached(SEVEN_BILLION, choice, settings, Llama), 1, 2048)


@needs_node
@pytest.mark.parametrize(("config", "kind"), [(TIED_LLAMA, Llama), (TIED_GPT, GPT2)], ids=["Llama", "GPT-2"])
@pytest.mark.parametrize("choice", calculator.CHOICES)
def test_budget_is_that_of_lesson_12_also_where_the_head_is_the_table(tmp_path, config, kind, choice):
    adapted = attached(config, choice, SETTINGS, kind)
    found = cost(tmp_path, config, choice, SETTINGS, (3, 16))
    assert found["trained"] == sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert found["training"] == memory_budget(adapted, 3, 16)


@needs_node
@pytest.mark.parametrize("choice", ["LoRA on q and v", "prompt tuning", "prefix tuning", "ladder side tuning"])
def test_keys_and_values_of_serving_are_those_that_a_llama_remembers(tmp_path, choice):
    found = cost(tmp_path, SMALL, choice, SETTINGS, (2, 9))
    method, names, place = calculator.CHOICES[choice]
    given = {name: SETTINGS[name] for name in names} | calculator.targets("Llama", place)
    adapted = METHODS[method].attach(Llama(SMALL).bfloat16(), **given)
    with torch.no_grad(), remembering(adapted):
        adapted(torch.randint(50, (2, 9)))
        memories = [module.memory for module in adapted.modules() if getattr(module, "memory", None) is not None]
        numbers = sum(memory.k.numel() + memory.v.numel() for memory in memories)
    assert found["serving"]["keys and values"] == 2 * numbers  # in 16 bits


@needs_node
def test_weights_of_serving_are_the_models_where_the_method_merges_and_more_where_not(tmp_path):
    for choice, (method, _, _) in calculator.CHOICES.items():
        found = cost(tmp_path, SMALL, choice, SETTINGS)
        more = 0 if METHODS[method].mergeable else 2 * found["trained"]
        assert found["serving"]["weights"] == 2 * METHODS["full"].count(SMALL) + more
        assert found["stored"] == 2 * found["trained"]


@needs_node
def test_four_bits_are_those_of_nf4_and_keep_no_more_activations(tmp_path):
    config = LlamaConfig(vocab_size=50, block_size=32, n_layer=2, n_head=4, n_embd=256, n_inner=512)
    found = cost(tmp_path, config, "LoRA on q and v", {"rank": 3}, (2, 16), four_bits=True)
    packed = to_four_bits(Llama(config).bfloat16())
    assert found["training"]["weights"] - 2 * found["trained"] == pytest.approx(bytes_kept(packed), rel=1e-3)
    adapted = METHODS["lora"].attach(packed, rank=3, target_modules=("q_proj", "v_proj")).bfloat16()
    idx = torch.zeros(2, 16, dtype=torch.long)
    assert kept_for_backward(adapted, idx, idx) == found["training"]["activations"]
    for choice in ("full fine-tuning", "DoRA on q and v", "intrinsic dimension"):
        whole, asked = (cost(tmp_path, config, choice, SETTINGS, four_bits=four) for four in (False, True))
        assert whole == asked


@needs_node
def test_models_of_the_page_are_the_published_ones(tmp_path):
    models = run_js(SCRIPTS, tmp_path, "return MODELS;")
    all_of = {name: run_js(SCRIPTS, tmp_path, "return costOf(MODELS[name], 'full fine-tuning', {}, {}).all;", name=name)
              for name in models}  # fmt: skip
    assert all_of == {
        "the course's tiny": 155_456,
        "GPT-2, 124 million": 124_439_808,
        "GPT-2 medium, 355 million": 354_823_168,
        "GPT-2 large, 774 million": 774_030_080,
        "GPT-2 XL, 1.6 billion": 1_557_611_200,
        "SmolLM2, 135 million": 134_515_008,
        "Llama-2-7B": 6_738_415_616,
        "Llama-2-13B": 13_015_864_320,
    }
    assert models["the course's tiny"] == dimensions(load_base("tiny").config)


@needs_node
@pytest.mark.parametrize(
    ("config", "choice", "settings"),
    [
        (TIED_GPT, "LoRA on q and v", {"rank": 0}),
        (TIED_GPT, "prefix tuning", {"num_virtual_tokens": 40}),
        (TIED_GPT, "ladder side tuning", {"reduction_factor": 5}),
        (TIED_LLAMA, "ladder side tuning", {"reduction_factor": 4}),
        (TIED_LLAMA, "adapter", {"bottleneck": 5}),
        (TIED_GPT, "ladder side tuning", {"reduction_factor": 4}),
    ],
)
def test_what_cannot_be_is_said_where_attach_refuses_it(tmp_path, config, choice, settings):
    kind = Llama if isinstance(config, LlamaConfig) else GPT
    try:
        attached(config, choice, settings, kind)
        refused = False
    except ValueError:
        refused = True
    body = "return whyNot(model, choice, settings, { sequences: 1, tokens: 16 });"
    said = run_js(SCRIPTS, tmp_path, body, model=dimensions(config), choice=choice, settings=settings)
    assert bool(said) == refused


@pytest.fixture
def page(tmp_path):
    """The page and what it borrows from the playground, where it can be changed."""
    for name in ("calculator", "playground"):
        shutil.copytree(SITE / "extra" / name, tmp_path / name)
    return tmp_path / "calculator" / "index.html"


@needs_chromium
def test_page_opens_from_a_file_and_shows_every_method(page):
    shown = opened(page)
    assert shown.count("<tr><td") == len(calculator.CHOICES)
    assert "4,194,304 of 6,738,415,616 numbers train" in shown
    assert "trained = " in shown and "4 L d r" not in shown  # on a Llama the keys have a width of their own
    assert "http" not in (PAGE / "index.html").read_text(encoding="utf-8")


@needs_chromium
def test_another_model_and_a_setting_that_cannot_be(page):
    change = "$('model').value = 'GPT-2, 124 million'; chooseModel(); settings.rank = 0; show();"
    shown = opened(page, change)
    assert "This cannot be: every number must be whole" in shown
    assert "124,439,808" in shown
