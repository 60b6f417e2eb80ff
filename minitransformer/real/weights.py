"""A Llama from a GGUF file or from a directory of safetensors, and back into such a directory."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from minitransformer.real.files import (
    Shapes,
    Shards,
    check_layers,
    check_settings,
    check_shapes,
    config_of,
    fill,
    read_json,
    write_model,
)
from minitransformer.real.four_bits import Q41Linear
from minitransformer.real.gguf import GGUF, Q4_1
from minitransformer.real.llama import Llama, LlamaConfig
from minitransformer.surgery import check_plain

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


def shapes_of(model: Llama, names: dict[str, str]) -> Shapes:
    """The shapes of a model's weights by the names that a file gives them."""
    return {names[ours]: tuple(weight.shape) for ours, weight in model.state_dict().items()}


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
    config = config_of(
        LlamaConfig,
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
    check_shapes(opened.file, shapes_of(model, names), {name: stored.shape for name, stored in opened.tensors.items()})
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


def keep_as_in_file(model: Llama, opened: GGUF) -> Llama:
    """Keep those matrices of a Llama that its GGUF file has in Q4_1 as they are there, to the byte; in place.

    The weights are those that `load` unpacked into 32 bits, so the logits are the same.

    Raises:
        ValueError: a method is attached, the file holds no such matrix, or another model's; the model is unchanged then.
    """
    check_plain(model)
    made = {}
    for ours, theirs in llama_names(model.config, GGUFS).items():
        stored, name = opened.tensors.get(theirs), ours.removesuffix(".weight")
        linear = model.get_submodule(name)
        if stored is None or stored.shape != tuple(linear.weight.shape):
            raise ValueError(f"{opened.file} is of another model: it has no {theirs!r} of {tuple(linear.weight.shape)}")
        if stored.kind != Q4_1 or not isinstance(linear, nn.Linear):
            continue
        raw = torch.from_numpy(np.array(opened.data[stored.start : stored.start + stored.size]))
        raw = raw.view(stored.shape[0], -1)  # (d_out, bytes of a row)
        heads = {"q_proj": model.config.n_head, "k_proj": model.config.n_kv_head}.get(name.split(".")[-1])
        made[name] = Q41Linear(linear, (halves(raw, heads) if heads else raw).to(linear.weight.device))
    if not made:
        raise ValueError(f"{opened.file} holds no matrix in Q4_1; pack one with to_four_bits")
    for name, layer in made.items():
        model.set_submodule(name, layer)
    return model


# ---- directories of safetensors ---------------------------------------------------------------------------------------

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
    config = config_of(
        LlamaConfig,
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
    check_shapes(directory, shapes_of(model, names), shards.shapes)
    return fill(model, lambda name: shards.read(names[name]))


def save_llama(model: Llama, directory: str | Path) -> None:
    """Write a plain Llama as Hugging Face does.

    Raises:
        OSError: the files cannot be written.
    """
    config = model.config
    settings = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.block_size,
        "num_hidden_layers": config.n_layer,
        "num_attention_heads": config.n_head,
        "num_key_value_heads": config.n_kv_head,
        "hidden_size": config.n_embd,
        "head_dim": config.head_dim,
        "intermediate_size": config.n_inner,
        "rope_theta": config.rope_base,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        **LLAMA_ONLY,
        "torch_dtype": str(model.wte.weight.dtype).removeprefix("torch."),
    }
    del settings["quantization_config"]  # that it is not there says so
    names = llama_names(config, HUGGING_FACE)
    write_model(directory, settings, {names[ours]: weight.detach() for ours, weight in model.state_dict().items()})
