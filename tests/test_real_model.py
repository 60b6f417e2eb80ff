"""SmolLM2 itself against the record of what `transformers` computes from the same file (record_oracle.py)."""

import copy
import pydoc_data.topics
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from record_oracle import EVERY, FILE, NEW, PROMPTS
from safetensors.torch import load_file
from torch.testing import assert_close

import minitransformer as mt
from minitransformer.real import answers, bytes_kept, examples, find, generate, keep_as_in_file, load
from minitransformer.real.gguf import GGUF

try:
    PATH = find("smollm2")
except ValueError as missing:
    pytest.skip(str(missing), allow_module_level=True)


@pytest.fixture(scope="module")
def loaded():
    return load("smollm2")


@pytest.fixture(scope="module")
def record():
    return load_file(FILE)


def test_it_has_the_dimensions_that_its_makers_name(loaded):
    model, _ = loaded
    config = model.config
    assert (config.n_layer, config.n_embd, config.n_head, config.n_kv_head, config.n_inner) == (30, 576, 9, 3, 1536)
    assert mt.count_parameters(model) == mt.count(config, "full") == 134_515_008


@pytest.mark.parametrize("i", range(len(PROMPTS)))
def test_logits_and_greedy_tokens_are_those_of_transformers(loaded, record, i):
    model, tokenizer = loaded
    idx = tokenizer.encode(PROMPTS[i])[None]
    assert torch.equal(idx[0], record[f"{i}.prompt"])
    with torch.no_grad():
        assert_close(model(idx)[0, :, ::EVERY], record[f"{i}.logits"], atol=1e-3, rtol=0)
    assert torch.equal(generate(model, idx, NEW)[0, idx.size(1) :], record[f"{i}.greedy"])


def test_packed_weights_are_those_of_gguf():
    gguf = pytest.importorskip("gguf", reason="the library gguf is a maintainer's: pip install -r requirements-dev.txt")
    opened = GGUF(PATH)
    for name in ("token_embd.weight", "blk.7.ffn_down.weight", "blk.29.attn_k.weight", "output_norm.weight"):
        stored = opened.tensors[name]
        raw = np.asarray(opened.data[stored.start : stored.start + stored.size])
        raw = raw if stored.kind else raw.view(np.float32)
        expected = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType(stored.kind)).reshape(stored.shape)
        assert torch.equal(opened.read(name), torch.from_numpy(expected.copy())), name


# ---- the tokenizer ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lines():
    """Ten thousand lines: Python's documentation and source, and what is rare there."""
    source = open(re.__file__, encoding="utf-8").read() + open(pydoc_data.topics.__file__, encoding="utf-8").read()
    found = [*"\n".join(pydoc_data.topics.topics.values()).splitlines(), *source.splitlines()]
    rare = [
        "é ñ ü ß",
        "中文和日本語",
        "🙂🙃 !!",
        "12,345.678",
        "\t\ttabs",
        "a\u00a0b",
        "don't I'll",
        "",
        " ",
        "x" * 300,
        "١٢٣",
    ]
    rng = np.random.default_rng(0)
    made = ["".join(chr(c) for c in rng.integers(32, 0x3000, 30)) for _ in range(500)]
    return (rare + made + found)[:10_000]


def test_tokens_are_those_of_transformers_and_come_back_as_the_text(loaded, lines):
    """Where two spaces stand before a digit, the two differ: this file asks to cut off digits first, and `transformers`
    (4.57.6) does not read that setting."""
    from transformers.integrations.ggml import convert_gguf_tokenizer

    settings, tokenizer = GGUF(PATH).settings, loaded[1]
    names = {"tokens": "tokens", "merges": "merges", "token_type": "token_type", "bos_token_id": "bos_token_id",
             "eos_token_id": "eos_token_id", "unk_token_id": "unknown_token_id"}  # fmt: skip
    asked = {name: settings[f"tokenizer.ggml.{ggml}"] for name, ggml in names.items()}
    theirs, _ = convert_gguf_tokenizer("llama", {**asked, "tokenizer_type": "gpt2"})
    assert len(lines) == 10_000
    other = []
    for line, found in zip(lines, theirs.encode_batch(lines, add_special_tokens=False), strict=True):
        ours = tokenizer.encode(line)
        assert tokenizer.decode(ours) == line
        if ours.tolist() != found.ids:
            other.append(line)
    assert all(re.search(r"\s\s\d", line) for line in other)
    assert len(other) < 600


def test_chat_is_the_template_of_the_file(loaded):
    _, tokenizer = loaded
    text = tokenizer.chat("Hello")
    assert text.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.encode(text).tolist().count(1) == 3 and tokenizer.end == 2


# ---- adapting it ------------------------------------------------------------------------------------------------------


def test_examples_count_the_answer_and_the_end_alone(loaded):
    _, tokenizer = loaded
    inputs, targets = examples(tokenizer, ["The capital of Peru is", "One"], [" Lima", " two three"])
    assert inputs.shape == targets.shape and (targets != -100).sum().item() == 2 + 3
    for row, target, answer in zip(inputs, targets, [" Lima", " two three"], strict=True):
        counts = target != -100
        assert tokenizer.decode(target[counts]) == answer + "<|im_end|>"
        assert tokenizer.decode(row[1:][counts[:-1]]).startswith(answer)


def test_a_few_steps_of_lora_teach_it_another_answer(loaded):
    model, tokenizer = loaded
    question = "Question: What is the capital of Peru?\nAnswer:"
    assert answers(model, tokenizer, [question]) == [""]  # it ends its turn at once
    adapted = mt.attach(copy.deepcopy(model), "lora", rank=4, target_modules=("q_proj", "v_proj"))
    data = examples(tokenizer, [question], [" Lima"])
    mt.train(adapted, data, steps=8, learning_rate=1e-2, batch_size=1, progress=False)
    assert answers(adapted, tokenizer, [question]) == ["Lima"]


def test_answers_of_many_are_those_of_each_alone(loaded):
    model, tokenizer = loaded
    questions = ["The capital of Peru is", "The capital of France is", "Two and two are", "The sun is a"]
    together = answers(model, tokenizer, questions, max_new_tokens=5)
    assert together == [answers(model, tokenizer, [question], max_new_tokens=5)[0] for question in questions]
    assert all(together) and len(set(together)) == 4


def test_page_on_real_models_runs_as_it_is_written(tmp_path, monkeypatch, capsys):
    """With two steps for sixty, its numbers are others; its first score and its count are the page's own."""
    page = (Path(__file__).parents[1] / "docs" / "real.md").read_text(encoding="utf-8")
    code = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if '"folder"' not in block]
    printed = re.search(r"It prints:\n\n```\n(.*?)```", page, re.DOTALL)[1].splitlines()
    monkeypatch.chdir(tmp_path)
    assert "steps=60" in code[0]
    exec(compile(code[0].replace("steps=60", "steps=2"), "capitals.py", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out.splitlines()[:3] == printed[:3]
    exec(compile(code[1], "travel.py", "exec"), {"__name__": "page"})
    assert {file.name for file in Path("for-peft").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}


# ---- in four bits -----------------------------------------------------------------------------------------------------


def test_matrices_as_in_the_file_give_the_same_logits_from_a_third_of_the_bytes(loaded):
    model, tokenizer = loaded
    idx = tokenizer.encode(PROMPTS[0])[None]
    kept = keep_as_in_file(copy.deepcopy(model), GGUF(PATH))
    with torch.no_grad():
        assert_close(kept(idx), model(idx), atol=1e-4, rtol=0)
    assert (bytes_kept(model), bytes_kept(kept)) == (538_060_032, 179_741_952)
