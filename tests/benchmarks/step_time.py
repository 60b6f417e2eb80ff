"""Time of a training step of our GPT against Hugging Face's GPT-2, measured side by side.

    python tests/benchmarks/step_time.py [--repeats N]

Both have the size of the base `tiny`, without dropout, and random weights. Each row trains both on the same batch, on
one thread, in turns: forward, F.cross_entropy on the logits, backward, fused AdamW (`minitransformer.measure`). Hugging
Face's model keeps its default attention; its generation cache, of no use in training, is off. LoRA has rank 4 on all
matrices: six a block for us, four for `peft`, because GPT-2 keeps queries, keys and values in one.
"""

import argparse
from collections.abc import Callable

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from minitransformer.checkpoints import load_card
from minitransformer.measure import median_seconds, training_step
from minitransformer.methods import METHODS
from minitransformer.model import GPT, GPTConfig

CONFIG = GPTConfig(**load_card("tiny")["config"])
BATCHES = [(32, 12), (32, 64)]  # sequences, tokens


class Logits(nn.Module):
    """A Hugging Face model that returns its logits alone, as ours does."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, idx: Tensor) -> Tensor:
        return self.model(input_ids=idx, use_cache=False).logits


def ours_full() -> nn.Module:
    return GPT(CONFIG)


def ours_lora() -> nn.Module:
    return METHODS["lora"].attach(GPT(CONFIG))


def gpt2() -> GPT2LMHeadModel:
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
        )
    )


def theirs_full() -> nn.Module:
    return Logits(gpt2())


def theirs_lora() -> nn.Module:
    matrices = ["c_attn", "c_proj", "c_fc"]  # "c_proj" is two: the one of attention, and the one of the MLP
    return Logits(get_peft_model(gpt2(), LoraConfig(r=4, lora_alpha=8, target_modules=matrices, fan_in_fan_out=True)))


METHOD_PAIRS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "full": (ours_full, theirs_full),
    "lora": (ours_lora, theirs_lora),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="time of a training step: ours against Hugging Face's")
    parser.add_argument("--repeats", type=int, default=50, help="measured steps a row (default: 50)")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{'method':>6}  {'batch':>7}  {'ours, ms':>9}  {'theirs, ms':>10}  {'ours / theirs':>13}")
    for name, makers in METHOD_PAIRS.items():
        for batch in BATCHES:
            inputs, targets = torch.randint(CONFIG.vocab_size, (2, *batch))
            steps = [training_step(make().train(), inputs, targets) for make in makers]
            ours, theirs = median_seconds(steps, repeats, torch.device("cpu"))
            size = "{} x {}".format(*batch)
            print(f"{name:>6}  {size:>7}  {1000 * ours:9.2f}  {1000 * theirs:10.2f}  {ours / theirs:13.2f}")


if __name__ == "__main__":
    main()
