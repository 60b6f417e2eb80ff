"""Weights from files into models: every name and shape is held against the config before a number is read."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from minitransformer.real.gguf import GGUF
from minitransformer.real.llama import Llama, LlamaConfig

# Ours -> (Hugging Face's, GGUF's); the second table is that of one block.
OUTSIDE = {
    "wte": ("model.embed_tokens", "token_embd"),
    "ln_f": ("model.norm", "output_norm"),
    "lm_head": ("lm_head", "output"),
}
INSIDE = {
    "ln_1": ("input_layernorm", "attn_norm"),
    "attn.q_proj": ("self_attn.q_proj", "attn_q"),
    "attn.k_proj": ("self_attn.k_proj", "attn_k"),
    "attn.v_proj": ("self_attn.v_proj", "attn_v"),
    "attn.o_proj": ("self_attn.o_proj", "attn_output"),
    "ln_2": ("post_attention_layernorm", "ffn_norm"),
    "mlp.gate_proj": ("mlp.gate_proj", "ffn_gate"),
    "mlp.up_proj": ("mlp.up_proj", "ffn_up"),
    "mlp.down_proj": ("mlp.down_proj", "ffn_down"),
}
HUGGING_FACE, GGUFS = 0, 1  # the columns
FLOATS = ("F32", "F16", "BF16", "F64")

Shapes = Mapping[str, tuple[int, ...]]


def llama_names(config: LlamaConfig, whose: int) -> dict[str, str]:
    """Our name of each weight -> the name in a file of Hugging Face, or of GGUF."""
    outside = {ours: theirs[whose] for ours, theirs in OUTSIDE.items() if ours != "lm_head" or not config.tied}
    layers = ("model.layers", "blk")[whose]
    inside = {
        f"blocks.{i}.{ours}": f"{layers}.{i}.{theirs[whose]}"
        for i in range(config.n_layer)
        for ours, theirs in INSIDE.items()
    }
    return {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in {**outside, **inside}.items()}


def check_shapes(file: Path, model: nn.Module, names: Mapping[str, str], found: Shapes) -> None:
    """Make sure that a file holds each weight of a model, in its shape, and nothing else.

    Args:
        file: for the message.
        model: on the meta device, where weights are shapes alone.
        names: our name -> the file's.
        found: the file's name -> shape.

    Raises:
        ValueError: one is missing, has another shape, or is not known.
    """
    for ours, weight in model.state_dict().items():
        theirs = names[ours]
        if theirs not in found:
            raise ValueError(f"{file} is damaged or incomplete: it holds no {theirs!r}")
        if found[theirs] != tuple(weight.shape):
            raise ValueError(
                f"{file}: {theirs!r} has the shape {found[theirs]}, but its settings say {tuple(weight.shape)}"
            )
    unknown = sorted(found.keys() - set(names.values()))
    if unknown:
        raise ValueError(
            f"{file} holds {unknown[0]!r}, which this kind of model does not have: its weights cannot be used"
        )


def check_layers(file: Path, n_layer: int, found: Shapes) -> None:
    """Make sure that there are no fewer tensors than layers: a model of a billion layers would fill the memory with names.

    Raises:
        ValueError: there are fewer.
    """
    if n_layer > len(found):
        raise ValueError(f"{file} announces {n_layer} layers, but holds {len(found)} tensors")


def llama_config(file: Path, dimensions: Mapping[str, object], **more: object) -> LlamaConfig:
    """The config that a file describes.

    Raises:
        ValueError: a dimension is no whole number that a model can have, or they do not fit each other.
    """
    for name, value in dimensions.items():
        if type(value) is not int or not 0 < value < 2**31:
            raise ValueError(f"{file}: {name} is {value!r}, which no model has")
    try:
        return LlamaConfig(**dimensions, **more)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def fill(model: nn.Module, read: Callable[[str], Tensor]) -> nn.Module:
    """Give a model on the meta device its weights: `read` gives each by our name."""
    model.load_state_dict({name: read(name) for name in model.state_dict()}, assign=True)
    return model.requires_grad_().eval()


# ---- GGUF -------------------------------------------------------------------------------------------------------------


def llama_from_gguf(opened: GGUF) -> Llama:
    """A Llama in 32 bits from a GGUF file, whatever its weights are packed in.

    Raises:
        ValueError: it holds another kind of model, or not all of its weights, or one of another shape.
    """
    kind = opened.setting("general.architecture", str)
    if kind != "llama":
        raise ValueError(f"{opened.file} holds a {kind!r}; of GGUF files, 'llama' is read here")
    if opened.settings.get("llama.rope.scaling.type", "none") != "none":
        raise ValueError(f"{opened.file}: llama.rope.scaling is not known here; positions would be wrong")
    table = opened.tensors.get("token_embd.weight")
    dimensions = {
        "vocab_size": len(opened.setting("tokenizer.ggml.tokens", list)) if table is None else table.shape[0],
        "block_size": opened.setting("llama.context_length"),
        "n_layer": opened.setting("llama.block_count"),
        "n_head": opened.setting("llama.attention.head_count"),
        "n_embd": opened.setting("llama.embedding_length"),
        "n_inner": opened.setting("llama.feed_forward_length"),
        "n_kv_head": opened.settings.get("llama.attention.head_count_kv", opened.setting("llama.attention.head_count")),
    }
    config = llama_config(
        opened.file,
        dimensions,
        rope_base=opened.settings.get("llama.rope.freq_base", 10_000.0),
        norm_eps=opened.setting("llama.attention.layer_norm_rms_epsilon", float),
        tied="output.weight" not in opened.tensors,
    )
    if opened.settings.get("llama.rope.dimension_count", config.head_dim) != config.head_dim:
        raise ValueError(
            f"{opened.file}: only part of each head turns (llama.rope.dimension_count), which is not known here"
        )
    check_layers(opened.file, config.n_layer, opened.tensors)
    names = llama_names(config, GGUFS)
    with torch.device("meta"):
        model = Llama(config)
    check_shapes(opened.file, model, names, {name: stored.shape for name, stored in opened.tensors.items()})
    heads = {"q_proj": config.n_head, "k_proj": config.n_kv_head}

    def read(name: str) -> Tensor:
        weight = opened.read(names[name])
        matrix = name.split(".")[-2]
        return halves(weight, heads[matrix]) if matrix in heads else weight

    return fill(model, read)


def halves(weight: Tensor, heads: int) -> Tensor:
    """Order the rows of a head as Hugging Face does, (d_out, d_in).

    llama.cpp turns neighbours, channels 2i and 2i + 1, and stores its matrices so; here, and there, the pair is i and
    i + h / 2.
    """
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)


# ---- directories of safetensors ---------------------------------------------------------------------------------------


def read_json(file: Path) -> dict:
    """A JSON file that holds one object.

    Raises:
        ValueError: it is missing, or holds something else.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error}); give a directory with a model's files") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} is damaged: it holds no object")
    return found


class Shards:
    """The safetensors files of a directory, opened: `shapes` by name, and `read`.

    Raises:
        ValueError: there are none, one is damaged, a tensor is there twice, or is quantised.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        files = sorted(directory.glob("model*.safetensors"))
        if not files:
            pickles = sorted(file.name for file in directory.glob("*.bin"))
            why = f"; {pickles[0]} is a pickle, which could run any program and is not opened" if pickles else ""
            raise ValueError(f"{directory} holds no model.safetensors{why}; save the model as safetensors")
        self.opened: dict[str, object] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for file in files:
            try:
                shard = safe_open(file, framework="pt")
            except (SafetensorError, OSError) as error:
                raise ValueError(f"{file} is damaged ({error}); copy it again") from None
            for name in shard.keys():
                tensor = shard.get_slice(name)
                if name in self.shapes:
                    raise ValueError(f"{directory} holds {name!r} twice; leave one set of files there")
                if tensor.get_dtype() not in FLOATS:
                    raise ValueError(f"{file}: {name!r} is of type {tensor.get_dtype()}; read are {', '.join(FLOATS)}")
                self.opened[name], self.shapes[name] = shard, tuple(tensor.get_shape())

    def drop(self, name: str) -> None:
        """Forget a tensor that is not wanted."""
        self.shapes.pop(name, None)

    def read(self, name: str) -> Tensor:
        """A tensor in 32 bits."""
        return self.opened[name].get_tensor(name).float()


def check_settings(file: Path, settings: Mapping[str, object], kind: str, only: Mapping[str, object]) -> None:
    """Make sure that a config.json describes a model that is known here.

    Args:
        file: for the message.
        settings: what the config says.
        kind: of the model, as in its `model_type`.
        only: the one value that each of these settings may have, where it is given.

    Raises:
        ValueError: it describes another one; the message names the setting.
    """
    if settings.get("model_type") != kind:
        raise ValueError(f"{file}: model_type is {settings.get('model_type')!r}; here it must be {kind!r}")
    for name, value in only.items():
        if settings.get(name, value) != value:
            raise ValueError(f"{file}: {name}={settings[name]!r} is not known here; it must be {value!r}")


LLAMA_ONLY = {
    "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "rope_scaling": None, "quantization_config": None,
}  # fmt: skip


def llama_from_directory(directory: str | Path) -> Llama:
    """A Llama in 32 bits from a directory with config.json and safetensors, as Hugging Face writes it.

    Raises:
        ValueError: it holds another kind of model, or not all of its weights, or one of another shape.
    """
    directory = Path(directory)
    file = directory / "config.json"
    settings = read_json(file)
    check_settings(file, settings, "llama", LLAMA_ONLY)
    dimensions = {
        "vocab_size": settings.get("vocab_size"),
        "block_size": settings.get("max_position_embeddings"),
        "n_layer": settings.get("num_hidden_layers"),
        "n_head": settings.get("num_attention_heads"),
        "n_embd": settings.get("hidden_size"),
        "n_inner": settings.get("intermediate_size"),
        "n_kv_head": settings.get("num_key_value_heads") or settings.get("num_attention_heads"),
    }
    config = llama_config(
        file,
        dimensions,
        rope_base=settings.get("rope_theta", 10_000.0),
        norm_eps=settings.get("rms_norm_eps", 1e-6),
        tied=settings.get("tie_word_embeddings", False),
    )
    if (settings.get("head_dim") or config.head_dim) != config.head_dim:
        raise ValueError(f"{file}: head_dim={settings['head_dim']!r} is not known here; it must be {config.head_dim}")
    shards = Shards(directory)
    check_layers(directory, config.n_layer, shards.shapes)
    if config.tied:
        shards.drop("lm_head.weight")  # some files hold the table a second time
    names = llama_names(config, HUGGING_FACE)
    with torch.device("meta"):
        model = Llama(config)
    check_shapes(directory, model, names, shards.shapes)
    return fill(model, lambda name: shards.read(names[name]))
