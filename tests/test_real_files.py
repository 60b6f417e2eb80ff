"""Files of real models: what is right is read, what is wrong or hostile is refused before memory is taken."""

import json
import struct
import tracemalloc

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from minitransformer.real import Llama, LlamaConfig, load
from minitransformer.real.gguf import GGUF, LAYOUTS, unpack
from minitransformer.real.weights import GGUFS, halves, llama_from_directory, llama_from_gguf, llama_names

CONFIG = LlamaConfig(
    vocab_size=64, block_size=32, n_layer=2, n_head=4, n_embd=32, n_inner=64, n_kv_head=2, rope_base=100.0, tied=True
)


# ---- a small GGUF file, written here ----------------------------------------------------------------------------------


def text(string):
    data = string.encode()
    return struct.pack("<Q", len(data)) + data


def setting(name, value):
    """A setting as the file has it; a list holds texts or whole numbers."""
    if isinstance(value, list):
        strings = isinstance(value[0], str)
        body = b"".join(text(v) if strings else struct.pack("<i", v) for v in value)
        return text(name) + struct.pack("<IIQ", 9, 8 if strings else 5, len(value)) + body
    kind, body = {
        int: lambda: (4, struct.pack("<I", value)),
        float: lambda: (6, struct.pack("<f", value)),
        str: lambda: (8, text(value)),
    }[type(value)]()
    return text(name) + struct.pack("<I", kind) + body


def settings(config):
    letters = [chr(ord("A") + i) for i in range(26)] + [chr(ord("a") + i) for i in range(26)]
    tokens = ["<end>", *letters, *"0123456789", "Ġ", "aa"]
    tokens += [f"<{i}>" for i in range(config.vocab_size - len(tokens))]
    return {
        "general.architecture": "llama",
        "llama.block_count": config.n_layer,
        "llama.context_length": config.block_size,
        "llama.embedding_length": config.n_embd,
        "llama.feed_forward_length": config.n_inner,
        "llama.attention.head_count": config.n_head,
        "llama.attention.head_count_kv": config.n_kv_head,
        "llama.rope.freq_base": config.rope_base,
        "llama.attention.layer_norm_rms_epsilon": config.norm_eps,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] + [1] * (config.vocab_size - 1),
        "tokenizer.ggml.merges": ["a a"],
        "tokenizer.ggml.eos_token_id": 0,
    }


def neighbours(weight, heads):
    """The other way round than `halves`: as llama.cpp stores it."""
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def written(file, given, tensors, counts=None):
    """A GGUF file; `tensors` are (name, shape in PyTorch's order, type, place, bytes)."""
    n = (len(tensors), len(given)) if counts is None else counts
    head = b"GGUF" + struct.pack("<IQQ", 3, *n) + b"".join(setting(*item) for item in given.items())
    data = b""
    for name, shape, kind, place, raw in tensors:
        head += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape))
        head += struct.pack("<IQ", kind, len(data) if place is None else place)
        data += raw + bytes(-len(raw) % 32)
    file.write_bytes(head + bytes(-len(head) % 32) + data)
    return file


def stored(model):
    """A model's tensors as GGUF has them, in 32 bits."""
    heads = {"q_proj": CONFIG.n_head, "k_proj": CONFIG.n_kv_head}
    for ours, weight in model.state_dict().items():
        weight = neighbours(weight, heads[ours.split(".")[-2]]) if ours.split(".")[-2] in heads else weight
        yield llama_names(CONFIG, GGUFS)[ours], tuple(weight.shape), 0, None, weight.numpy().tobytes()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Llama(CONFIG).requires_grad_(False)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "small.gguf"


def test_gguf_file_gives_the_model_and_its_tokenizer(model, file):
    written(file, settings(CONFIG), list(stored(model)))
    again, tokenizer = load(file)
    assert again.config.n_kv_head == 2 and again.config.tied
    assert_close(dict(again.state_dict()), dict(model.state_dict()), atol=0, rtol=0)
    idx = tokenizer.encode("aab 12")
    assert tokenizer.decode(idx) == "aab 12" and tokenizer.end == 0
    with pytest.raises(ValueError, match="not taught to chat"):
        tokenizer.chat("hello")


def test_order_of_the_rows_of_a_head_is_turned_round_and_back():
    weight = torch.arange(16.0)[:, None]
    assert neighbours(weight, 2).flatten().tolist()[:8] == [0, 4, 1, 5, 2, 6, 3, 7]
    assert torch.equal(halves(neighbours(weight, 2), 2), weight)


def test_packed_numbers_are_those_of_gguf():
    """Random bytes, unpacked here and by the library of the format's makers."""
    gguf = pytest.importorskip("gguf", reason="the library gguf is a maintainer's: pip install -r requirements-dev.txt")
    rng = np.random.default_rng(0)
    for kind, (label, numbers, size) in LAYOUTS.items():
        raw = rng.integers(0, 256, 40 * size, dtype=np.uint8)
        if numbers == 1:
            raw = rng.standard_normal(40).astype(f"<f{size}").view(np.uint8)
        else:  # scales that are numbers
            raw.reshape(40, size)[:, :4] = rng.standard_normal((40, 2)).astype("<f2").view(np.uint8)
        expected = gguf.quants.dequantize(
            raw.view(f"<f{size}") if numbers == 1 else raw, gguf.GGMLQuantizationType(kind)
        )
        assert np.array_equal(unpack(raw, kind), expected.astype(np.float32)), label


# ---- GGUF files that are wrong ----------------------------------------------------------------------------------------


def changed(tensors, name, **new):
    """The tensors, one of them changed in shape, kind or place."""
    keys = ("name", "shape", "kind", "place", "raw")
    return [tuple({**dict(zip(keys, t, strict=True)), **(new if t[0] == name else {})}.values()) for t in tensors]


WRONG = {
    "more tensors than memory": (lambda s, t: (s, t, (2**60, len(s))), "announces 1152921504606846976 tensors"),
    "more settings than there are": (lambda s, t: (s, t, (len(t), len(s) + 3)), "ends before|damaged"),
    "too many layers": (lambda s, t: ({**s, "llama.block_count": 2**31 - 1}, t), "announces 2147483647 layers"),
    "one layer too few": (lambda s, t: ({**s, "llama.block_count": 1}, t), "holds 'blk.1"),
    "other width": (lambda s, t: ({**s, "llama.embedding_length": 64}, t), "has the shape"),
    "width of nothing": (lambda s, t: ({**s, "llama.embedding_length": 0}, t), "n_embd is 0"),
    "heads that do not divide": (lambda s, t: ({**s, "llama.attention.head_count": 5}, t), "n_head=5"),
    "other architecture": (lambda s, t: ({**s, "general.architecture": "mamba"}, t), "holds a 'mamba'"),
    "other positions": (lambda s, t: ({**s, "llama.rope.scaling.type": "yarn"}, t), "rope.scaling"),
    "positions on a part": (lambda s, t: ({**s, "llama.rope.dimension_count": 4}, t), "part of each head"),
    "no epsilon": (
        lambda s, t: ({k: v for k, v in s.items() if "epsilon" not in k}, t),
        "layer_norm_rms_epsilon is None",
    ),
    "a tensor twice": (lambda s, t: (s, [*t, t[0]]), "twice"),
    "a tensor missing": (lambda s, t: (s, t[:-1]), "holds no 'output_norm.weight'"),
    "a tensor too many": (lambda s, t: (s, [*t, ("blk.0.attn_q.bias", (32,), 0, None, bytes(128))]), "attn_q.bias"),
    "other quantisation": (lambda s, t: (s, changed(t, "token_embd.weight", kind=14)), r"type 14\) that is not read"),
    "a place past the end": (lambda s, t: (s, changed(t, "token_embd.weight", place=2**40)), "past the end"),
    "a place that overflows": (lambda s, t: (s, changed(t, "token_embd.weight", place=2**64 - 32)), "past the end"),
    "a shape that overflows": (lambda s, t: (s, changed(t, "token_embd.weight", shape=(2**33, 2**33))), "past the end"),
    "a shape of nothing": (lambda s, t: (s, changed(t, "token_embd.weight", shape=(0, 32))), r"shape \(0, 32\)"),
    "half a block": (lambda s, t: (s, changed(t, "token_embd.weight", kind=3, shape=(64, 31))), r"shape \(64, 31\)"),
    "five dimensions": (lambda s, t: (s, changed(t, "token_embd.weight", shape=(1,) * 5)), "5 dimensions"),
    "other tokenizer": (lambda s, t: ({**s, "tokenizer.ggml.pre": "llama-bpe"}, t), "cuts like 'llama-bpe'"),
    "merges that are none": (lambda s, t: ({**s, "tokenizer.ggml.merges": ["a zz"]}, t), "merges are no BPE"),
    "alignment of nothing": (lambda s, t: ({**s, "general.alignment": 0}, t), "alignment is 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_gguf_is_refused_with_the_reason(model, file, case):
    change, message = WRONG[case]
    written(file, *change(settings(CONFIG), list(stored(model))))
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as caught:
        load(file)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("part", [0, 3, 20, 60, 0.3, 0.9, 0.999])
def test_truncated_gguf_is_refused(model, file, part):
    data = written(file, settings(CONFIG), list(stored(model))).read_bytes()
    file.write_bytes(data[: part if isinstance(part, int) else int(part * len(data))])
    with pytest.raises(ValueError, match=r"small\.gguf"):
        load(file)


def test_bytes_changed_at_random_never_crash_the_reader(model, file):
    """Whatever a damaged head says, the answer is a ValueError, or a model of the right size."""
    data = written(file, settings(CONFIG), list(stored(model))).read_bytes()
    head = data.index(b"blk.0.attn_norm")
    rng = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(data)
        for place in rng.integers(4, head, 3):
            broken[place] = rng.integers(256)
        file.write_bytes(broken)
        try:
            llama_from_gguf(GGUF(file))
        except ValueError:
            continue


def test_file_that_is_no_gguf_is_refused(file):
    file.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ValueError, match="begins with the letters GGUF"):
        load(file)
    with pytest.raises(ValueError, match="cannot be read"):
        load(file.with_name("missing.gguf"))


# ---- directories ------------------------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path):
    """A directory as `transformers` writes it."""
    from test_real_llama import their_config
    from transformers import LlamaForCausalLM

    LlamaForCausalLM(their_config(CONFIG)).save_pretrained(tmp_path)
    return tmp_path


def reset(directory, **new):
    file = directory / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **new}))


REFUSED = {
    "other model": ({"model_type": "mistral"}, "model_type is 'mistral'"),
    "biases": ({"attention_bias": True}, "attention_bias=True"),
    "other activation": ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
    "scaled positions": ({"rope_scaling": {"rope_type": "llama3"}}, "rope_scaling="),
    "quantised": ({"quantization_config": {"bits": 4}}, "quantization_config="),
    "wide heads": ({"head_dim": 64}, "head_dim=64"),
    "text for a number": ({"hidden_size": "32"}, "n_embd is '32'"),
    "overflowing": ({"num_hidden_layers": 10**30}, "which no model has"),
    "many layers": ({"num_hidden_layers": 2**31 - 1}, "announces 2147483647 layers"),
    "other width": ({"hidden_size": 64, "head_dim": 16}, "has the shape"),
    "untied without a head": ({"tie_word_embeddings": False}, "holds no 'lm_head.weight'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_config_is_refused_with_the_reason(directory, case):
    new, message = REFUSED[case]
    reset(directory, **new)
    with pytest.raises(ValueError, match=message):
        llama_from_directory(directory)


def test_pickle_is_never_opened(directory):
    (directory / "model.safetensors").unlink()
    (directory / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(ValueError, match=r"pytorch_model.bin is a pickle"):
        llama_from_directory(directory)


def test_several_files_are_read_together_and_a_tensor_twice_is_refused(directory):
    whole = llama_from_directory(directory)
    tensors = load_file(directory / "model.safetensors")
    names = sorted(tensors)
    (directory / "model.safetensors").unlink()
    save_file({name: tensors[name] for name in names[:5]}, directory / "model-00001-of-00002.safetensors")
    save_file({name: tensors[name] for name in names[5:]}, directory / "model-00002-of-00002.safetensors")
    assert_close(dict(llama_from_directory(directory).state_dict()), dict(whole.state_dict()), atol=0, rtol=0)
    save_file(tensors, directory / "model.safetensors")
    with pytest.raises(ValueError, match="twice"):
        llama_from_directory(directory)


def test_damaged_safetensors_are_refused(directory):
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is damaged"):
        llama_from_directory(directory)


def test_weights_that_are_whole_numbers_are_refused(directory):
    file = directory / "model.safetensors"
    save_file({name: weight.to(torch.int8) for name, weight in load_file(file).items()}, file)
    with pytest.raises(ValueError, match="of type I8"):
        llama_from_directory(directory)


def test_directory_without_a_tokenizer_says_what_to_do(directory):
    with pytest.raises(ValueError, match="load the model alone with llama_from_directory"):
        load(directory)
