"""GPT-2 in the files of Hugging Face, from the smallest to the largest, into the course's GPT and back.

There, queries, keys and values are one matrix (`c_attn`), matrices are stored (in, out), and the head is the table of the
embeddings.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from minitransformer.model import GPT, GPTConfig
from minitransformer.real.files import (
    Shards,
    check_layers,
    check_settings,
    check_shapes,
    config_of,
    fill,
    read_json,
    write_model,
)

FUSED = ("q_proj", "k_proj", "v_proj")  # side by side in c_attn
MATRICES = {"attn.o_proj": "attn.c_proj", "mlp.up_proj": "mlp.c_fc", "mlp.down_proj": "mlp.c_proj"}  # ours -> theirs
NORMS = ("ln_1", "ln_2")
ONLY = {
    "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False, "quantization_config": None,
}  # fmt: skip


@dataclass(frozen=True)
class GPT2Config(GPTConfig):
    """The dimensions of a GPT-2.

    Args:
        tied: whether the head is the table of the embeddings.
    """

    tied: bool = True


class GPT2(GPT):
    """The course's GPT, with a head that can be the table of the embeddings itself: one tensor, counted and saved once."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        if config.tied:
            self.lm_head.weight = self.wte.weight

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> "GPT2":
        """Load a GPT-2 of any size in 32 bits, in evaluation mode.

        Args:
            directory: with config.json and safetensors, as Hugging Face writes it.

        Raises:
            ValueError: it is no such directory, or holds another kind of model, or not all of its weights.
        """
        directory = Path(directory)
        if not directory.is_dir():
            raise ValueError(
                f"{directory} is no directory; nothing is downloaded: give one with config.json and safetensors"
            )
        file = directory / "config.json"
        settings = read_json(file)
        check_settings(file, settings, "gpt2", ONLY)
        dimensions = {
            "vocab_size": settings.get("vocab_size"),
            "block_size": settings.get("n_positions"),
            "n_layer": settings.get("n_layer"),
            "n_head": settings.get("n_head"),
            "n_embd": settings.get("n_embd"),
        }
        if settings.get("n_inner") is not None:
            dimensions["n_inner"] = settings["n_inner"]
        config = config_of(GPT2Config, file, dimensions, tied=settings.get("tie_word_embeddings", True) is not False)
        shards = Shards(directory)
        check_layers(directory, config.n_layer, shards.shapes)
        prefix = "transformer." if any(name.startswith("transformer.") for name in shards.shapes) else ""
        for i in range(config.n_layer):  # masks, which old files hold
            shards.drop(f"{prefix}h.{i}.attn.bias")
            shards.drop(f"{prefix}h.{i}.attn.masked_bias")
        if config.tied:
            shards.drop("lm_head.weight")
        check_shapes(directory, {_full(name, prefix): shape for name, shape in shapes(config)}, shards.shapes)
        with torch.device("meta"):
            model = cls(config)
        fill(model, lambda ours: from_theirs(ours, config, lambda name: shards.read(_full(name, prefix))))
        if config.tied:
            model.lm_head.weight = model.wte.weight
        return model


def _full(name: str, prefix: str) -> str:
    """Their name with what stands before it in this file; the head stands outside."""
    return name if name == "lm_head.weight" else prefix + name


def shapes(config: GPT2Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Their name and shape of every weight."""
    d, f = config.n_embd, config.n_inner
    yield "wte.weight", (config.vocab_size, d)
    yield "wpe.weight", (config.block_size, d)
    for i in range(config.n_layer):
        matrices = {"attn.c_attn": (d, 3 * d), "attn.c_proj": (d, d), "mlp.c_fc": (d, f), "mlp.c_proj": (f, d)}
        for name, shape in matrices.items():
            yield f"h.{i}.{name}.weight", shape  # (in, out)
            yield f"h.{i}.{name}.bias", shape[1:]
        for name in NORMS:
            yield f"h.{i}.{name}.weight", (d,)
            yield f"h.{i}.{name}.bias", (d,)
    yield "ln_f.weight", (d,)
    yield "ln_f.bias", (d,)
    if not config.tied:
        yield "lm_head.weight", (config.vocab_size, d)


def from_theirs(ours: str, config: GPT2Config, read: Callable[[str], Tensor]) -> Tensor:
    """One of our weights from theirs: turned round where it is a matrix of a block, cut out of c_attn where it is in there."""
    if ours == "lm_head.weight" and config.tied:
        return read("wte.weight")
    if not ours.startswith("blocks."):
        return read(ours)
    _, i, *middle, kind = ours.split(".")
    part = ".".join(middle)  # as in attn.q_proj
    if part in NORMS:
        return read(f"h.{i}.{part}.{kind}")
    if part in MATRICES:
        whole = read(f"h.{i}.{MATRICES[part]}.{kind}")
    else:
        whole = read(f"h.{i}.attn.c_attn.{kind}").chunk(3, dim=-1)[FUSED.index(middle[-1])]
    return whole.T.contiguous() if kind == "weight" else whole.clone()


def to_theirs(name: str, weights: dict[str, Tensor]) -> Tensor:
    """One of their weights from ours, by their name."""
    if not name.startswith("h."):
        return weights[name]
    _, i, *middle, kind = name.split(".")
    part = ".".join(middle)
    if part in NORMS:
        return weights[f"blocks.{i}.{part}.{kind}"]
    if part == "attn.c_attn":
        whole = torch.cat([weights[f"blocks.{i}.attn.{letter}.{kind}"] for letter in FUSED])
    else:
        whole = weights[f"blocks.{i}.{dict(zip(MATRICES.values(), MATRICES, strict=True))[part]}.{kind}"]
    return whole.T if kind == "weight" else whole


def save_gpt2(model: GPT, directory: str | Path) -> None:
    """Write a plain GPT as Hugging Face writes a GPT-2; the head is left out where it is the table.

    Raises:
        OSError: the files cannot be written.
    """
    config = model.config
    tied = model.lm_head.weight is model.wte.weight
    settings = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_positions": config.block_size,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "n_inner": config.n_inner,
        "tie_word_embeddings": tied,
        "bos_token_id": None,
        "eos_token_id": None,
        **{name: value for name, value in ONLY.items() if value is not None},
        "torch_dtype": str(model.wte.weight.dtype).removeprefix("torch."),
    }
    dimensions = {name: getattr(config, name) for name in GPTConfig.__dataclass_fields__}
    weights = {name: weight.detach() for name, weight in model.state_dict().items()}
    theirs = {name: to_theirs(name, weights) for name, _ in shapes(GPT2Config(**dimensions, tied=tied))}
    named = {name if name == "lm_head.weight" else f"transformer.{name}": weight for name, weight in theirs.items()}
    write_model(directory, settings, named)
