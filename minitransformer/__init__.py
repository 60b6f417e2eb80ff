"""A tiny GPT written by hand, and the fine-tuning methods that the lessons build on it.

    >>> import minitransformer as mt
    >>> adapted = mt.attach(mt.load_base("tiny"), "lora", rank=4)
    >>> history = mt.train(adapted, mt.tasks.LADDER["recall"], steps=150, learning_rate=0.01)
    >>> mt.save_adapter(adapted, "recall.safetensors")
    >>> model = mt.load_adapter(mt.load_base("tiny"), "recall.safetensors")

- The model: GPT, GPTConfig, load_base, count_parameters
- The methods: METHODS (all of them, by name), attach, count, merge, detach, save_adapter, load_adapter
- Using it: train, evaluate, generate, tasks (a module)
- Real models: real (a module: SmolLM2, any Llama, GPT-2, the files of transformers and peft)
- Your own: verify (does a method keep every promise?)

Each name has its own help, as in help(mt.attach). PyTorch is imported when the first of them is used.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minitransformer import real, tasks
    from minitransformer.adapters import attach, count, detach, load_adapter, merge, save_adapter
    from minitransformer.checkpoints import load_base
    from minitransformer.experiments.verify import verify
    from minitransformer.generate import generate
    from minitransformer.methods import METHODS
    from minitransformer.model import GPT, GPTConfig
    from minitransformer.surgery import count_parameters
    from minitransformer.train import evaluate, train

__version__ = "0.2.0"

__all__ = [
    "GPT",
    "METHODS",
    "GPTConfig",
    "__version__",
    "attach",
    "count",
    "count_parameters",
    "detach",
    "evaluate",
    "generate",
    "load_adapter",
    "load_base",
    "merge",
    "real",
    "save_adapter",
    "tasks",
    "train",
    "verify",
]

_FILES = {  # the file that each name comes from
    **dict.fromkeys(["attach", "count", "detach", "load_adapter", "merge", "save_adapter"], "adapters"),
    **dict.fromkeys(["GPT", "GPTConfig"], "model"),
    **dict.fromkeys(["evaluate", "train"], "train"),
    "METHODS": "methods",
    "count_parameters": "surgery",
    "generate": "generate",
    "load_base": "checkpoints",
    "verify": "experiments.verify",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562): PyTorch takes a second, and `--help` needs none of it."""
    if name in ("real", "tasks"):
        return import_module(f"minitransformer.{name}")
    if name not in _FILES:
        raise AttributeError(f"module 'minitransformer' has no attribute {name!r}; it has: {', '.join(__all__)}")
    value = getattr(import_module(f"minitransformer.{_FILES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """The type of this package: `mt.train` and `mt.generate` are the functions, not the files of the same names.

    When a file is imported, Python sets it as an attribute of its package; the function is set in its place.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("train", "generate") and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
