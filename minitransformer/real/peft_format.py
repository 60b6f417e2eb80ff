"""Adapters that travel: files of the library `peft`, for `transformers`' model of the same base, written and read.

`peft` keeps two files, adapter_config.json and adapter_model.safetensors, and names a weight by the place of its module in
Hugging Face's model. In GPT-2, queries, keys and values are one matrix there: three LoRAs beside three matrices are one LoRA
beside the fused one, with the three A stacked and the three B on a diagonal; rank and alpha add up.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from minitransformer.files import write_safetensors, write_text
from minitransformer.method import trained
from minitransformer.methods import METHODS
from minitransformer.methods.ia3 import ScaledInput
from minitransformer.model import GPT
from minitransformer.real.files import Shards, read_json
from minitransformer.real.gpt2 import FUSED
from minitransformer.real.llama import Llama
from minitransformer.surgery import check_finite, check_plain, detach, inside, load_weights

ROOT = "base_model.model."  # before each name
HINT = "c_attn"  # in the metadata of our files: which of q, k, v stand in the fused matrix
KINDS = {"lora": "LORA", "dora": "LORA", "ia3": "IA3", "prompt": "PROMPT_TUNING", "prefix": "PREFIX_TUNING"}
GPT2_PLACES = {
    "o_proj": "attn.c_proj",
    "up_proj": "mlp.c_fc",
    "down_proj": "mlp.c_proj",
    **dict.fromkeys(FUSED, "attn.c_attn"),
}

Parts = dict[str, Tensor]  # what stands beside one matrix, by these names
LORA = {"lora_A.weight", "lora_B.weight", "scaling"}  # the scaling is not in the file: its config says it
WANTED = {"lora": LORA, "dora": LORA | {"lora_magnitude_vector"}, "ia3": {"ia3_l"}}


def places_of(model: nn.Module) -> tuple[str, dict[str, str]]:
    """Where a base's blocks are in Hugging Face's model, and each matrix in a block: ("model.layers", {"q_proj": ...}).

    Raises:
        ValueError: the model is neither a GPT nor a Llama.
    """
    if isinstance(model, GPT):
        return "transformer.h", GPT2_PLACES
    if isinstance(model, Llama):
        mlp = ("gate_proj", "up_proj", "down_proj")
        return "model.layers", {m: f"{'mlp' if m in mlp else 'self_attn'}.{m}" for m in model.config.matrices}
    raise ValueError(f"peft's files are read and written for a GPT or a Llama, and this is a {type(model).__name__}")


def rows(keys_values: Tensor) -> Tensor:
    """A prefix as `peft` keeps it, a virtual token a row, K0 | V0 | K1 | ...: (n_layer, 2, p, width) -> (p, n_layer 2 width)."""
    return keys_values.permute(2, 0, 1, 3).flatten(1)


# ---- writing ----------------------------------------------------------------------------------------------------------


def export_peft(adapted: nn.Module, directory: str | Path, base_name: str | None = None) -> None:
    """Write what was trained as `peft` does, so that `PeftModel.from_pretrained(model, directory)` gives the same logits.

    Args:
        adapted: a GPT, GPT2 or Llama with lora, dora, ia3, prompt or prefix.
        directory: made if need be.
        base_name: what the file calls the base: a name on a hub, or a path.

    Raises:
        ValueError: nothing is attached, `peft` has no such method, or it cannot say such a setting; nothing is written then.
        OSError: the files cannot be written.
    """
    record, base = trained(adapted).adaptation, inside(adapted)
    if record.method not in KINDS:
        raise ValueError(f"export_peft: peft has nothing that is our {record.method!r}; it has {', '.join(KINDS)}")
    config = {
        "peft_type": KINDS[record.method],
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "inference_mode": True,
    }
    metadata = {"format": "pt"}
    if record.method == "prompt":
        weights = {"prompt_embeddings": adapted.prompt}
        config["num_virtual_tokens"] = len(adapted.prompt)
    elif record.method == "prefix":
        weights = {"prompt_embeddings": rows(adapted.prefix())}
        config["num_virtual_tokens"] = adapted.num_virtual_tokens
    else:
        _, places = places_of(base)
        targets = tuple(dict.fromkeys(record.settings["target_modules"]))
        fused = [name for name in FUSED if name in targets] if isinstance(base, GPT) else []
        metadata |= {HINT: ",".join(fused)} if fused else {}
        weights = named_weights(base, targets, fused)
        config |= {
            "target_modules": sorted({places[name] for name in targets}),
            "fan_in_fan_out": isinstance(base, GPT),
        }
        if record.method == "ia3":
            reads = record.settings["feedforward_modules"]
            if set(reads) & set(fused):
                raise ValueError(
                    f"export_peft: feedforward_modules={reads} scale what q, k or v read, and there they read as one"
                )
            config["feedforward_modules"] = sorted({places[name] for name in reads})
        else:
            config |= {"bias": "none", "use_dora": record.method == "dora", **sizes(record.settings, len(fused))}
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.detach().cpu() for name, weight in weights.items()}
    write_safetensors(weights, directory / "adapter_model.safetensors", metadata)
    write_text(directory / "adapter_config.json", json.dumps(config, indent=2) + "\n")


def sizes(settings: Mapping[str, object], n_fused: int) -> dict[str, object]:
    """Rank and alpha; where n of q, k and v are one matrix, that one has n times both."""
    rank, alpha = settings["rank"], settings["alpha"]
    if n_fused < 2:
        return {"r": rank, "lora_alpha": alpha}
    one = {"rank_pattern": {"attn.c_attn": n_fused * rank}, "alpha_pattern": {"attn.c_attn": n_fused * alpha}}
    return {"r": rank, "lora_alpha": alpha, **one}


def named_weights(base: nn.Module, targets: tuple[str, ...], fused: list[str]) -> dict[str, Tensor]:
    """What was trained beside the matrices of every block, by the names in `peft`'s file."""
    layers, places = places_of(base)
    found: dict[str, Tensor] = {}
    for i, block in enumerate(base.blocks):
        modules = {name: getattr(block.attn if hasattr(block.attn, name) else block.mlp, name) for name in places}
        parts = {places[name]: parts_of(modules[name]) for name in targets if name not in fused}
        if fused:
            parts["attn.c_attn"] = fuse({name: modules[name] for name in FUSED}, fused)
        for place, tensors in parts.items():
            found |= {f"{ROOT}{layers}.{i}.{place}.{kind}": tensor for kind, tensor in tensors.items()}
    return found


def parts_of(module: nn.Module) -> Parts:
    """What was trained beside one matrix, by `peft`'s names for it."""
    if hasattr(module, "scale"):
        return {"ia3_l": module.scale[None] if isinstance(module, ScaledInput) else module.scale[:, None]}
    lora = {"lora_A.weight": module.lora_A, "lora_B.weight": module.lora_B}
    return lora | ({"lora_magnitude_vector": module.magnitude} if hasattr(module, "magnitude") else {})


def fuse(modules: dict[str, nn.Module], fused: list[str]) -> Parts:
    """The same beside queries, keys and values as one matrix; those of the three that are not adapted stay as they are."""
    parts = {name: parts_of(modules[name]) for name in fused}
    if "ia3_l" in parts[fused[0]]:
        ones = torch.ones_like(parts[fused[0]]["ia3_l"])
        return {"ia3_l": torch.cat([parts[name]["ia3_l"] if name in fused else ones for name in FUSED])}
    A = torch.cat([parts[name]["lora_A.weight"] for name in fused])  # (n r, d): stacked
    d, r = parts[fused[0]]["lora_B.weight"].shape
    B = A.new_zeros(3 * d, len(A))
    for n, name in enumerate(fused):  # on a diagonal: the rows of this matrix, the columns of its A
        row = FUSED.index(name) * d
        B[row : row + d, n * r : (n + 1) * r] = parts[name]["lora_B.weight"]
    found = {"lora_A.weight": A, "lora_B.weight": B}
    kind = "lora_magnitude_vector"
    if kind in parts[fused[0]]:
        found[kind] = torch.cat(
            [parts[name][kind] if name in fused else modules[name].weight.norm(dim=1) for name in FUSED]
        )
    return found


# ---- reading ----------------------------------------------------------------------------------------------------------

# Settings of `peft` that are read below, or that say nothing of the logits; any other one must be off.
KNOWN = {
    "peft_type", "task_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode",
    "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "fan_in_fan_out", "use_rslora", "use_dora",
    "rank_pattern", "alpha_pattern", "init_ia3_weights", "feedforward_modules", "num_virtual_tokens", "token_dim",
    "num_transformer_submodules", "num_attention_heads", "num_layers", "encoder_hidden_size", "prefix_projection",
    "init_weights", "prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs",
    "megatron_core", "qalora_group_size", "bias", "init_lora_weights",
}  # fmt: skip
STARTS = (True, False, "gaussian", None)  # others change the base's weights


def import_peft(model: nn.Module, directory: str | Path) -> nn.Module:
    """Attach what `peft` has trained on this base: the same logits, in the course's own method.

    Where `peft` gives matrices other ranks (rank_pattern), all get the largest here, filled up with zeros, which stay zero
    in training. rsLoRA is an alpha of alpha * sqrt(rank).

    Args:
        model: the base, a plain GPT, GPT2 or Llama; it becomes part of the result.
        directory: what `save_pretrained` of a `PeftModel` wrote.

    Raises:
        ValueError: the files are missing, damaged or for another base, or hold a method or setting that is not known here;
            the message names it, and the model is unchanged.
    """
    check_plain(model)
    places_of(model)
    directory = Path(directory)
    file = directory / "adapter_config.json"
    config = read_json(file)
    for name, value in config.items():
        if (name not in KNOWN and value) or (name == "bias" and value != "none"):
            raise ValueError(f"{file}: {name}={value!r} is not known here; train without it")
    if config.get("init_lora_weights") not in STARTS:
        raise ValueError(f"{file}: init_lora_weights={config['init_lora_weights']!r} has changed the base itself")
    kind = config.get("peft_type")
    name = {**{v: k for k, v in KINDS.items()}, "LORA": "dora" if config.get("use_dora") else "lora"}.get(kind)
    if name is None:
        raise ValueError(f"{file}: peft_type={kind!r} is not known here; {', '.join(sorted(set(KINDS.values())))} are")
    shards = Shards(directory, "adapter_model")
    weights = {key.removeprefix(ROOT): shards.read(key) for key in shards.shapes}
    check_finite(weights, str(directory))
    if name in ("prompt", "prefix"):
        settings, weights = virtual(model, name, weights, directory)
    else:
        scalings = {} if name == "ia3" else scalings_of(weights, config)
        fused = [name for name in shards.metadata.get(HINT, "").split(",") if name]
        parts = per_matrix(model, {**weights, **scalings}, WANTED[name], fused, directory)
        settings, weights = knobs(parts) if name == "ia3" else low_rank(parts)
    trained_before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    with torch.random.fork_rng(devices=[]):  # what is drawn next must not depend on this
        adapted = METHODS[name].attach(model, **settings)
    try:
        load_weights(adapted, weights)
    except ValueError:
        detach(adapted)
        for parameter, trains in trained_before:
            parameter.requires_grad_(trains)
        raise ValueError(f"{directory} was trained on a base of another shape") from None
    return adapted


def virtual(model: nn.Module, name: str, weights: dict[str, Tensor], directory: Path) -> tuple[dict, dict[str, Tensor]]:
    """Settings and weights of a prompt or a prefix."""
    table = weights.get("prompt_embeddings")
    width, n_layer = getattr(model.config, "kv_width", model.config.n_embd), model.config.n_layer
    expected = model.config.n_embd if name == "prompt" else n_layer * 2 * width
    if table is None or len(weights) > 1 or table.dim() != 2 or table.size(1) != expected:
        raise ValueError(f"{directory} holds no prompt_embeddings of {expected} numbers a token, which this base needs")
    settings = {"num_virtual_tokens": len(table)}
    if name == "prompt":
        return settings, {"prompt": table}
    keys_values = table.unflatten(1, (n_layer, 2, width)).permute(1, 2, 0, 3)  # (n_layer, 2, p, width)
    return settings, {"prefix.keys_values": keys_values.contiguous()}


def per_matrix(
    model: nn.Module, weights: dict[str, Tensor], wanted: set[str], fused: list[str], directory: Path
) -> dict[str, Parts]:
    """The weights by our name of the matrix that they stand beside, the fused one cut into three.

    Args:
        model: the base.
        weights: by the names in the file.
        wanted: the parts that each matrix must have.
        fused: which of q, k and v our own export has fused; empty: `peft` has trained one adapter beside all three.
        directory: for the message.

    Raises:
        ValueError: a name is not known here, or the layers differ.
    """
    layers, places = places_of(model)
    pattern = rf"{re.escape(layers)}\.(\d+)\.([\w.]+)\.(lora_[AB]\.weight|lora_magnitude_vector|ia3_l|scaling)"
    found: dict[tuple[str, str], Parts] = defaultdict(dict)  # number of the layer, place in it -> parts
    for key, tensor in weights.items():
        match = re.fullmatch(pattern, key)
        if match is None or match[2] not in places.values():
            raise ValueError(
                f"{directory}: {key!r} stands beside no matrix of this base's blocks, or is not known here"
            )
        found[match[1], match[2]][match[3]] = tensor
    ours: dict[str, Parts] = {}
    for (i, place), parts in found.items():
        if parts.keys() != wanted:
            raise ValueError(
                f"{directory} is incomplete, or of another base: beside {i}.{place} stand {', '.join(parts)}"
            )
        names = [name for name, other in places.items() if other == place]
        cut = [parts]
        if place == "attn.c_attn":
            names = fused or names
            cut = split(parts, names, bool(fused))
        for name, part in zip(names, cut, strict=True):
            ours[f"blocks.{i}.{'mlp' if place.startswith('mlp') else 'attn'}.{name}"] = part
    if len(ours) != len(targets_of(ours)) * model.config.n_layer:
        raise ValueError(
            f"{directory} adapts a matrix in some layers alone; here it is adapted in every layer or in none"
        )
    return ours


def split(parts: Parts, names: list[str], diagonal: bool) -> list[Parts]:
    """Parts beside the fused matrix -> parts beside each of these three; `diagonal`: `fuse` wrote them, each has its own A."""
    found = []
    for n, name in enumerate(names):
        third = FUSED.index(name)
        cut = {kind: t for kind, t in parts.items() if kind not in ("lora_A.weight", "scaling")}
        part = {
            kind: t if len(t) == 1 else t.chunk(3)[third] for kind, t in cut.items()
        }  # one row is what all three read
        if "lora_A.weight" in parts:
            A = parts["lora_A.weight"]  # (n r, d)
            r = len(A) // len(names)
            own = slice(n * r, (n + 1) * r) if diagonal else slice(None)
            part |= {
                "lora_A.weight": A[own],
                "lora_B.weight": part["lora_B.weight"][:, own],
                "scaling": parts["scaling"],
            }
        found.append(part)
    return found


def targets_of(names: Iterable[str]) -> tuple[str, ...]:
    """Last parts of the names of matrices, each once."""
    return tuple(dict.fromkeys(name.rpartition(".")[2] for name in names))


def knobs(parts: dict[str, Parts]) -> tuple[dict, dict[str, Tensor]]:
    """Settings and weights of (IA)^3: a row of knobs scales what a matrix reads, a column what it puts out."""
    reads = [name for name, part in parts.items() if len(part["ia3_l"]) == 1]
    settings = {"target_modules": targets_of(parts), "feedforward_modules": targets_of(reads)}
    return settings, {f"{name}.scale": part["ia3_l"].flatten() for name, part in parts.items()}


def scalings_of(weights: dict[str, Tensor], config: dict) -> dict[str, Tensor]:
    """What `peft` multiplies each B A by, named as the A with `scaling` in its place."""

    def setting(kind: str, otherwise: str, place: str) -> float:
        """Of this matrix: the first pattern that fits the end of its name, or else the one for all."""
        fits = (value for key, value in (config.get(kind) or {}).items() if re.fullmatch(rf"(.*\.)?({key})", place))
        return next(fits, config.get(otherwise))

    found = {}
    for key, A in weights.items():
        place, is_A, _ = key.partition(".lora_A")
        if is_A:
            if setting("rank_pattern", "r", place) != len(A):
                raise ValueError(
                    f"{key!r} has rank {len(A)}, but the config says {setting('rank_pattern', 'r', place)}"
                )
            divisor = math.sqrt(len(A)) if config.get("use_rslora") else len(A)
            found[f"{place}.scaling"] = torch.tensor(
                setting("alpha_pattern", "lora_alpha", place) / divisor, dtype=torch.float64
            )
    return found


def low_rank(parts: dict[str, Parts]) -> tuple[dict, dict[str, Tensor]]:
    """Settings and weights of a LoRA or DoRA: one rank, the largest, and one scaling for all."""
    largest = max(parts.values(), key=lambda part: len(part["lora_A.weight"]))
    rank, scaling = len(largest["lora_A.weight"]), float(largest["scaling"])
    weights = {}
    for name, part in parts.items():
        A, B = part["lora_A.weight"], part["lora_B.weight"]
        fill = rank - len(A)
        weights[f"{name}.lora_A"] = nn.functional.pad(A, (0, 0, 0, fill))  # more rows of zeros
        weights[f"{name}.lora_B"] = float(part["scaling"]) / scaling * nn.functional.pad(B, (0, fill))  # more columns
        if "lora_magnitude_vector" in part:
            weights[f"{name}.magnitude"] = part["lora_magnitude_vector"]
    return {"rank": rank, "alpha": scaling * rank, "target_modules": targets_of(parts)}, weights
