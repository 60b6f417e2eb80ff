"""The formulas of the calculator in the browser, found by counting: `python site/calculator.py` writes them anew.

How many numbers a method trains, `Method.count` says; how many bytes a training step keeps between forward and backward,
`activation_bytes` counts on the meta device. Both are sums of products of a model's dimensions, such as 2 L p d for a
prefix. So each is counted on small models of random dimensions, and what the sum must be is solved for: a formula stands
only if its coefficients are whole and it is right, to the byte, on further models that it was not solved on.
"""

import json
import random
from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from pathlib import Path

import numpy as np

import minitransformer.real.methods  # noqa: F401 (the methods learn to serve a Llama)
from minitransformer.experiments.scale import activation_bytes, attach_without_memory
from minitransformer.methods import METHODS
from minitransformer.model import GPT, GPTConfig
from minitransformer.real.llama import Llama, LlamaConfig

FILE = Path(__file__).parent / "extra" / "calculator" / "formulas.js"
KINDS = {"GPT": (GPT, GPTConfig), "Llama": (Llama, LlamaConfig)}
SYMBOLS = {"rank": "r", "bottleneck": "m", "num_virtual_tokens": "p", "dimension": "D", "reduction_factor": "R"}
QV = ("q_proj", "v_proj")
CHOICES = {  # what the page calls it: (method, the settings that the reader chooses, where it goes)
    "full fine-tuning": ("full", (), None),
    "adapter": ("adapter", ("bottleneck",), None),
    "prompt tuning": ("prompt", ("num_virtual_tokens",), None),
    "prefix tuning": ("prefix", ("num_virtual_tokens",), None),
    "(IA)³": ("ia3", (), None),
    "LoRA on q and v": ("lora", ("rank",), "q and v"),
    "LoRA on all matrices": ("lora", ("rank",), "all"),
    "DoRA on q and v": ("dora", ("rank",), "q and v"),
    "DoRA on all matrices": ("dora", ("rank",), "all"),
    "ladder side tuning": ("lst", ("reduction_factor",), None),
    "MAM adapter": ("mam", ("num_virtual_tokens", "bottleneck"), None),
    "intrinsic dimension": ("intrinsic", ("dimension",), None),
}

Product = tuple[str, ...]  # of symbols, such as ("L", "d", "p")


def symbols_of(config: GPTConfig, settings: dict[str, int], batch_size: int, tokens: int) -> dict[str, int]:
    """The number behind each symbol of a formula, for a model, a method's settings and a batch."""
    sizes = {"L": config.n_layer, "d": config.n_embd, "f": config.n_inner, "h": config.n_head, "c": config.head_dim}
    sizes |= {"V": config.vocab_size, "S": config.block_size, "B": batch_size, "T": tokens}
    if isinstance(config, LlamaConfig):
        sizes["k"] = config.kv_width
    sizes |= {SYMBOLS[name]: value for name, value in settings.items()}
    if "R" in sizes:  # what is narrower by this factor: width, inner width, keys, heads of the side network
        R = sizes.pop("R")
        sizes |= {f"{name}/R": sizes[name] // R for name in ("d", "f", "k", "c") if name in sizes}
    return sizes


def some_model(kind: str, settings: Sequence[str], draw: random.Random) -> tuple[GPTConfig, dict[str, int]]:
    """A config of small random dimensions, and settings that fit it."""
    chosen = {name: draw.randint(1, 9) for name in settings}
    factor = draw.choice((1, 2, 3)) if "reduction_factor" in settings else 1
    if "reduction_factor" in settings:
        chosen["reduction_factor"] = factor
    heads = draw.choice((2, 4))  # with one, as with one token, some copies fall away
    sizes = {
        "vocab_size": draw.randint(5, 30),
        "block_size": draw.randint(30, 50),
        "n_layer": draw.randint(1, 4),
        "n_head": heads,
        "n_embd": heads * factor * 2 * draw.randint(1, 5),
        "n_inner": factor * draw.randint(3, 20),
    }
    if kind == "Llama":
        sizes["n_kv_head"] = draw.choice([n for n in (1, 2, 4) if heads % n == 0])
    return KINDS[kind][1](**sizes), chosen


def targets(kind: str, place: str | None) -> dict[str, tuple[str, ...]]:
    """The setting `target_modules` for a place that the page names, or none."""
    everything = tuple(KINDS[kind][1](9, 9, 1, 1, 8, 8).matrices)
    return {} if place is None else {"target_modules": QV if place == "q and v" else everything}


def count(kind: str, choice: str, model: tuple[GPTConfig, dict[str, int]], batch: tuple[int, int]) -> int:
    """Trained numbers, as `Method.count` gives them."""
    method, _, place = CHOICES[choice]
    config, settings = model
    return METHODS[method].count(config, **settings, **targets(kind, place))


def kept(kind: str, choice: str, model: tuple[GPTConfig, dict[str, int]], batch: tuple[int, int]) -> int:
    """Bytes between forward and backward, in 16 bits, as the memory budget of lesson 12 counts them."""
    method, _, place = CHOICES[choice]
    config, settings = model
    given = {**settings, **targets(kind, place)}
    return activation_bytes(attach_without_memory(METHODS[method], config, kind=KINDS[kind][0], **given), *batch)


def weights_products(sizes: dict[str, int]) -> list[Product]:
    """Products that a number of weights can be made of: a size, or two of them."""
    widths = [name for name in sizes if name not in ("L", "B", "T", "h", "c", "c/R")]
    return [(), *[(a,) for a in widths], *{tuple(sorted(pair)) for pair in product(widths, widths)}]


def kept_products(sizes: dict[str, int]) -> list[Product]:
    """Products that bytes kept can be made of: a width for each token, weights of a head, and what is made of weights."""
    tokens = [("B", "T"), *([("B", "p")] if "p" in sizes else [])]
    widths = [(), *[(name,) for name in sizes if name not in ("L", "S", "B", "T", "p")]]
    found = [
        (),
        ("T",),
        *[("T", name) for name in ("c", "c/R") if name in sizes],
        *[a + b for a in tokens for b in widths],
    ]
    if "p" in sizes:
        found += [(*a, *b) for a in tokens for b in (("T",), ("T", "h"))] + [("p",), ("p", "c")]
    if "r" in sizes or "D" in sizes:
        small = [name for name in ("d", "f", "k", "r", "D") if name in sizes]
        found += [(name,) for name in small] + [tuple(sorted(pair)) for pair in product(small, small)]
    if "D" in sizes:
        found += [("V", "d"), ("S", "d")]
    return found


def solve(
    value: Callable, products: Callable[[dict], list[Product]], kind: str, choice: str, draw: random.Random
) -> list[tuple[int, str]]:
    """The formula of a value: (coefficient, product of symbols) for each term.

    Args:
        value: (kind, choice, model, batch) -> what the formula must give.
        products: sizes -> products that it may be made of, each once and once a layer.
        kind: of the model, a key of KINDS.
        choice: of the method, a key of CHOICES.
        draw: of the models that it is solved and tried on.

    Raises:
        ArithmeticError: no such formula with whole coefficients is right on the models that were kept for the trial.
    """

    def example() -> tuple[dict[str, int], int]:
        model = some_model(kind, CHOICES[choice][1], draw)
        batch = draw.randint(1, 3), draw.randint(2, 12)
        return symbols_of(*model, *batch), value(kind, choice, model, batch)

    names = sorted({tuple(sorted((*p, *layers))) for p in products(example()[0]) for layers in ((), ("L",))})
    examples = [example() for _ in range(len(names) + 20)]
    table = np.array([[prod(sizes[s] for s in name) for name in names] for sizes, _ in examples], dtype=float)
    right = np.array([value for _, value in examples], dtype=float)
    solved, tried = slice(0, -10), slice(-10, None)
    scale = table.max(axis=0)
    coefficients = np.round(np.linalg.lstsq(table[solved] / scale, right[solved], rcond=None)[0] / scale)
    if not (table[tried] @ coefficients == right[tried]).all():
        raise ArithmeticError(f"{choice} on a {kind}: no sum of these products is what was counted")
    return [(int(n), " ".join(name)) for n, name in zip(coefficients, names, strict=True) if n]


def formulas(kind: str, choice: str) -> dict[str, list[tuple[int, str]]]:
    """What the page needs of one method on one kind of model."""
    draw = random.Random(f"{kind} {choice}")
    return {
        "trained": solve(count, weights_products, kind, choice, draw),
        "kept": solve(kept, kept_products, kind, choice, draw),
    }


def write_formulas(file: Path = FILE) -> None:
    """Write all formulas as `const FORMULAS`, a line each."""
    lines = []
    for kind in KINDS:
        entries = []
        for choice, (method, settings, _) in CHOICES.items():
            found = {"method": method, "settings": settings, "mergeable": METHODS[method].mergeable}
            entries.append(
                f"    {json.dumps(choice, ensure_ascii=False)}: {json.dumps({**found, **formulas(kind, choice)})}"
            )
            print(kind, choice, flush=True)
        lines.append(f"  {kind}: {{\n" + ",\n".join(entries) + ",\n  },\n")
    about = "// Written by site/calculator.py from Method.count and the memory budget. A term is a coefficient and what it multiplies.\n"
    file.write_text(f"{about}const FORMULAS = {{\n{''.join(lines)}}};\n", encoding="utf-8")


if __name__ == "__main__":
    write_formulas()
