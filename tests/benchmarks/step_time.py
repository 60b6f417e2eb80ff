"""Time of a training step of our methods against the same methods of public libraries, measured side by side.

    python tests/benchmarks/step_time.py [--repeats N] [--batch-size N]

Both have the size of the base `tiny` (with room for virtual tokens in the block), no dropout, and random weights. Each
row trains both on the same batch, on one thread, in turns: forward, F.cross_entropy on the logits, backward, fused AdamW
(`minitransformer.measure`). The shortest CPU time of this process counts, so that what else the machine does counts
little. Theirs is always Hugging Face's GPT-2, its generation cache, of no use in training, off:

- full: alone. Its attention is its default, as in all rows but the last.
- lora, dora, ia3, prompt, prefix: with `peft`. GPT-2 keeps queries, keys and values in one matrix, so that LoRA and DoRA
  of rank 4 on all matrices are six a block for us and four for `peft`, whose (IA)^3 has knobs on the queries too.
- adapter, parallel, mam: with AdapterHub's `adapters`. Its parallel adapter reads the residual stream, ours what the
  layer norm makes of it: the same work. Its prefix is right with plain attention ("eager") alone.

Prompts and prefixes are 10 tokens long, that of `mam` 5, bottlenecks 16 wide. No library has ladder side tuning or
intrinsic dimension.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import adapters
import torch
from peft import IA3Config, LoraConfig, PeftConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from minitransformer.checkpoints import load_card
from minitransformer.measure import fastest_seconds, training_step
from minitransformer.methods import METHODS
from minitransformer.methods.mam import attach_parallel
from minitransformer.model import GPT, GPTConfig

TINY = GPTConfig(**load_card("tiny")["config"])
CONFIG = replace(TINY, block_size=TINY.block_size + 10)
LENGTHS = (12, 64)  # tokens in a sequence


class Logits(nn.Module):
    """A Hugging Face model that returns the logits of the real tokens alone, as ours does."""

    def __init__(self, model: nn.Module, **options: object) -> None:
        super().__init__()
        self.model = model
        self.options = options

    def forward(self, idx: Tensor) -> Tensor:
        return self.model(input_ids=idx, **self.options).logits[:, -idx.size(1) :]


def gpt2(attention: str | None = None) -> GPT2LMHeadModel:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=CONFIG.vocab_size,
            n_positions=CONFIG.block_size,
            n_layer=CONFIG.n_layer,
            n_head=CONFIG.n_head,
            n_embd=CONFIG.n_embd,
            n_inner=CONFIG.n_inner,
            tie_word_embeddings=False,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            resid_pdrop=0.0,
            bos_token_id=None,
            eos_token_id=None,
            attn_implementation=attention,
        )
    )


def peft(config: PeftConfig) -> nn.Module:
    return Logits(get_peft_model(gpt2(), config), use_cache=False)


def peft_lora(use_dora: bool) -> nn.Module:
    matrices = ["c_attn", "c_proj", "c_fc"]  # "c_proj" is two: the one of attention, and the one of the MLP
    return peft(LoraConfig(r=4, lora_alpha=8, target_modules=matrices, fan_in_fan_out=True, use_dora=use_dora))


def adapterhub(config: adapters.AdapterConfig, attention: str | None = None) -> nn.Module:
    model = gpt2(attention)
    adapters.init(model)
    model.add_adapter("task", config=config)
    model.train_adapter("task")
    return Logits(model, use_cache=False)


BOTTLENECK = {"reduction_factor": CONFIG.n_embd / 16, "non_linearity": "gelu_new"}
PARALLEL = adapters.ParBnConfig(**BOTTLENECK)
PREFIX = adapters.PrefixTuningConfig(flat=True, prefix_length=5)
VIRTUAL = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 10}

THEIRS: dict[str, Callable[[], nn.Module]] = {
    "full": lambda: Logits(gpt2(), use_cache=False),
    "lora": lambda: peft_lora(use_dora=False),
    "dora": lambda: peft_lora(use_dora=True),
    "ia3": lambda: peft(IA3Config(task_type="CAUSAL_LM", fan_in_fan_out=True)),
    "prompt": lambda: peft(PromptTuningConfig(**VIRTUAL)),
    "prefix": lambda: peft(PrefixTuningConfig(**VIRTUAL)),
    "adapter": lambda: adapterhub(adapters.DoubleSeqBnConfig(**BOTTLENECK)),
    "parallel": lambda: adapterhub(PARALLEL),
    "mam": lambda: adapterhub(adapters.MAMConfig(prefix_tuning=PREFIX, adapter=PARALLEL), "eager"),
}


def ours(name: str) -> nn.Module:
    return attach_parallel(GPT(CONFIG)) if name == "parallel" else METHODS[name].attach(GPT(CONFIG))


def main() -> None:
    parser = argparse.ArgumentParser(description="time of a training step: ours against public libraries'")
    parser.add_argument("--repeats", type=int, default=50, help="measured steps a row (default: 50)")
    parser.add_argument("--batch-size", type=int, default=32, help="sequences (default: 32)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{'method':>8}  {'batch':>7}  {'ours, ms':>9}  {'theirs, ms':>10}  {'ours / theirs':>13}")
    for name, theirs in THEIRS.items():
        for length in LENGTHS:
            inputs, targets = torch.randint(CONFIG.vocab_size, (2, options.batch_size, length))
            steps = [training_step(model.train(), inputs, targets) for model in (ours(name), theirs())]
            one, two = fastest_seconds(steps, options.repeats, torch.device("cpu"), time.process_time)
            size = f"{options.batch_size} x {length}"
            print(f"{name:>8}  {size:>7}  {1000 * one:9.2f}  {1000 * two:10.2f}  {one / two:13.2f}", flush=True)


if __name__ == "__main__":
    main()
