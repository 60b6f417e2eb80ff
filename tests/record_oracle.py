"""Record what `transformers` computes from SmolLM2's GGUF file: a few minutes, so the tests read the record.

    python tests/record_oracle.py    # writes tests/real_oracle.safetensors

`transformers` unpacks the file with code of its own (and `gguf`'s) into its own Llama. Recorded are, of ten prompts, the
tokens, every 499th logit at every position, and 32 greedy tokens.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

FILE = Path(__file__).parent / "real_oracle.safetensors"
EVERY = 499  # of 49,152 logits
NEW = 32
CHAT = "<|im_start|>system\nYou are a helpful AI assistant.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = [
    "The capital of Peru is",
    "Question: What is the capital of Peru?\nAnswer:",
    "Once upon a time, there was a little",
    "def fibonacci(n):\n",
    "1, 2, 3, 4, 5,",
    "The three primary colours are",
    "In 1969, Neil Armstrong",
    "Dear Sir or Madam,\n\nI am writing to",
    CHAT.format("Name three fruits."),
    CHAT.format("Why is the sky blue?"),
]


def main() -> None:
    """Write the record."""
    from transformers import AutoModelForCausalLM

    from minitransformer.real import find
    from minitransformer.real.gguf import GGUF
    from minitransformer.real.tokenizer import tokenizer_from_gguf

    file = find("smollm2")
    theirs = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
    tokenizer = tokenizer_from_gguf(GGUF(file))  # held against theirs in the tests
    record = {}
    for i, prompt in enumerate(PROMPTS):
        idx = tokenizer.encode(prompt)[None]  # (1, T)
        with torch.no_grad():
            record[f"{i}.logits"] = theirs(idx).logits[0, :, ::EVERY].contiguous()  # (T, 99)
        said = theirs.generate(
            idx,
            attention_mask=torch.ones_like(idx),
            max_new_tokens=NEW,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=2,
        )
        record[f"{i}.prompt"], record[f"{i}.greedy"] = idx[0], said[0, idx.size(1) :].clone()
    save_file(record, FILE)
    print(f"written: {FILE}, {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
