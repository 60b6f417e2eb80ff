"""What the playground in the browser needs from here: the base and some trained methods, as one file of JavaScript.

`python site/playground.py` trains the methods anew and keeps them in site/adapters/; building the site packs them.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

import minitransformer as mt
from minitransformer.adapters import read_adapter
from minitransformer.train import setup

HERE = Path(__file__).parent
ADAPTERS = HERE / "adapters"
TRAINED = {  # (method, task): steps
    ("lora", "recall"): 150,
    ("ia3", "recall"): 150,
    ("prompt", "recall"): 150,
    ("prefix", "recall"): 150,
    ("adapter", "recall"): 150,
    ("lora", "compose"): 400,
    ("ia3", "compose"): 400,
    ("lora", "learn"): 1000,
}


def train_adapters() -> None:
    """Train each method on its task, at the method's own rate, and keep what was trained."""
    ADAPTERS.mkdir(exist_ok=True)
    for (method, task), steps in TRAINED.items():
        setup(seed=0, device="cpu")
        adapted = mt.attach(mt.load_base("tiny"), method)
        mt.train(adapted, mt.tasks.LADDER[task], steps=steps, learning_rate=mt.METHODS[method].learning_rate)
        mt.save_adapter(adapted, ADAPTERS / f"{method}_{task}.safetensors")
        print(f"{method} on {task}: {mt.evaluate(adapted, mt.tasks.LADDER[task]):.2f}")


def packed(weights: Mapping[str, Tensor]) -> dict:
    """Tensors as one text of little-endian 32-bit numbers, and where each begins; a vector is a matrix of one row."""
    index, at = [], 0
    for name, weight in weights.items():
        rows, cols = weight.shape if weight.dim() == 2 else (1, len(weight))
        index.append([name, at, rows, cols])
        at += weight.numel()
    numbers = torch.cat([weight.detach().float().flatten() for weight in weights.values()]).numpy().astype("<f4")
    return {"index": index, "numbers": base64.b64encode(numbers.tobytes()).decode()}


def sorted_by_strength(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Two thin matrices with the same product, whose directions stand in the order of their strength."""
    U, S, V = torch.linalg.svd(B @ A, full_matrices=False)
    rank = len(A)
    return V[:rank], U[:, :rank] * S[:rank]


def browser_names(method: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a trained method under the names that gpt.js looks for."""
    if method == "prompt":
        return {"prompt": weights["prompt"]}
    if method == "prefix":
        table = weights["prefix.keys_values"]  # (n_layer, 2, p, d)
        return {f"block{i}.{'kv'[j]}": table[i, j] for i in range(len(table)) for j in range(2)}
    found = {}
    for name, weight in weights.items():
        block, rest = name.split(".")[1], name.split(".", 2)[2]
        if method == "lora" and rest.endswith("lora_A"):
            layer = name.removesuffix(".lora_A")
            found[f"{layer}.A"], found[f"{layer}.B"] = sorted_by_strength(weight, weights[f"{layer}.lora_B"])
        elif method == "ia3":
            place = {"k_proj": "k", "v_proj": "v", "down_proj": "ff"}[rest.split(".")[1]]
            found[f"block{block}.{place}"] = weight
        elif method == "adapter":
            sublayer, _, matrix, kind = rest.split(".")
            found[f"block{block}.{sublayer}.{matrix.removesuffix('_proj')}.{kind}"] = weight
    return found


def write_data(file: Path = HERE / "extra" / "playground" / "data.js") -> None:
    """Write the base and every kept method as `const DATA`, for a page that is opened without a server."""
    base = mt.load_base("tiny")
    config = {name: getattr(base.config, name) for name in base.config.__dataclass_fields__}
    methods = {}
    for saved in sorted(ADAPTERS.glob("*.safetensors")):
        method, task = saved.stem.split("_")
        found = read_adapter(saved)
        settings = found.adaptation.settings
        more = {"rank": settings["rank"], "scaling": settings["alpha"] / settings["rank"]} if method == "lora" else {}
        methods[f"{method} {task}"] = {"method": method, **more, **packed(browser_names(method, found.weights))}
    data = {"base": {"config": config, **packed(base.state_dict())}, "methods": methods}
    file.write_text(f"const DATA = {json.dumps(data)};\n", encoding="utf-8")


if __name__ == "__main__":
    train_adapters()
    write_data()
