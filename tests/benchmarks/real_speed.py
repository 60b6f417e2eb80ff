"""Time of our Llama, of SmolLM2's size, against Hugging Face's: a training step with LoRA, and generation with a cache.

    python tests/benchmarks/real_speed.py [--repeats N] [--layers N] [--vocab-size N]

Random weights, for a time does not depend on them. One thread, both in turns, the shortest CPU time of this process, so
that what else the machine does counts little.

- step: 8 sequences of 24 tokens, LoRA of rank 8 on queries and values: forward, cross-entropy, backward, fused AdamW;
  theirs is `transformers` with `peft`. Once with a loss at every token, and once at the last four, as when an answer of
  a few tokens is trained; there ours runs the head where a target counts alone (`head_on_targets` of `train`).
- generation: 32 new tokens behind 24, greedily, one sequence and eight.
"""

import argparse
import time
from collections.abc import Callable

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import LlamaConfig as TheirConfig
from transformers import LlamaForCausalLM

from minitransformer.adapters import attach
from minitransformer.backward import Backward
from minitransformer.measure import fastest_seconds
from minitransformer.real import Llama, LlamaConfig, generate
from minitransformer.tasks import IGNORE

BATCH, LENGTH, ANSWER, NEW = 8, 24, 4, 32  # sequences, tokens in each, tokens of an answer, tokens to generate


def our_llama(layers: int, vocab_size: int) -> Llama:
    """The dimensions of SmolLM2-135M."""
    shape = {"n_layer": layers, "n_head": 9, "n_kv_head": 3, "n_embd": 576, "n_inner": 1536}
    return Llama(LlamaConfig(vocab_size=vocab_size, block_size=2048, rope_base=100_000.0, tied=True, **shape)).eval()


def their_llama(layers: int, vocab_size: int) -> LlamaForCausalLM:
    """The same."""
    shape = {"num_hidden_layers": layers, "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576}
    config = TheirConfig(
        vocab_size=vocab_size,
        max_position_embeddings=2048,
        rope_theta=100_000.0,
        tie_word_embeddings=True,
        intermediate_size=1536,
        bos_token_id=None,
        eos_token_id=None,
        **shape,
    )
    return LlamaForCausalLM(config).eval()


def step_of(model: nn.Module, gradients: Callable[[], object]) -> Callable[[], None]:
    """An optimizer step around what computes the gradients; a rate of zero leaves the weights as they are."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.0, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        gradients()
        optimizer.step()

    return step


def steps(size: tuple[int, int], inputs: Tensor, targets: Tensor) -> list[Callable[[], None]]:
    """A training step of ours, and one of theirs."""
    ours = attach(our_llama(*size), "lora", rank=8, alpha=16.0, target_modules=("q_proj", "v_proj"))
    lora = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    theirs = get_peft_model(their_llama(*size), lora)
    way = Backward(ours, head_on_targets=bool((targets == IGNORE).any()))

    def their_gradients() -> None:
        logits = theirs(input_ids=inputs, use_cache=False).logits  # (B, T, vocab_size)
        nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()

    return [step_of(ours, lambda: way(inputs, targets)), step_of(theirs, their_gradients)]


def generations(size: tuple[int, int], idx: Tensor) -> list[Callable[[], Tensor]]:
    """Generation by ours, and by theirs."""
    ours, theirs = our_llama(*size), their_llama(*size)
    return [
        lambda: generate(ours, idx, NEW),
        lambda: theirs.generate(
            idx, attention_mask=torch.ones_like(idx), max_new_tokens=NEW, do_sample=False, pad_token_id=0
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="time of our Llama against Hugging Face's")
    parser.add_argument("--repeats", type=int, default=5, help="measured rounds a row (default: 5)")
    parser.add_argument("--layers", type=int, default=30, help="blocks (default: SmolLM2's 30)")
    parser.add_argument("--vocab-size", type=int, default=49152, help="default: SmolLM2's 49152")
    options = parser.parse_args()
    size = (options.layers, options.vocab_size)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs, everywhere = torch.randint(options.vocab_size, (2, BATCH, LENGTH))
    answers = everywhere.clone()
    answers[:, :-ANSWER] = IGNORE
    rows = {
        "step, loss at all tokens": lambda: steps(size, inputs, everywhere),
        f"step, loss at {ANSWER} of {LENGTH}": lambda: steps(size, inputs, answers),
        "generation, 1 sequence": lambda: generations(size, inputs[:1]),
        f"generation, {BATCH} sequences": lambda: generations(size, inputs),
    }
    print(f"{'what':<26}  {'ours, ms':>9}  {'theirs, ms':>10}  {'ours / theirs':>13}")
    for name, pair in rows.items():
        one, two = fastest_seconds(pair(), options.repeats, torch.device("cpu"), time.process_time)
        print(f"{name:<26}  {1000 * one:9.0f}  {1000 * two:10.0f}  {one / two:13.2f}", flush=True)


if __name__ == "__main__":
    main()
