"""Talking to a language model: generation that remembers, questions with their answers to train on, answers to score."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from minitransformer.backward import head_at
from minitransformer.generate import check_request, choose
from minitransformer.methods.prefix import PrefixedGPT
from minitransformer.methods.prompt import PromptedGPT
from minitransformer.real.llama import LlamaAttention, remembering
from minitransformer.real.tokenizer import Tokenizer

IGNORED = -100  # a target that does not count


@torch.no_grad()
def generate(
    model: nn.Module,
    idx: Tensor,
    max_new_tokens: int,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    stop: int | None = None,
) -> Tensor:
    """Let a Llama, adapted or not, continue a text: as `minitransformer.generate`, but each token is read once.

    Args:
        model: a Llama or an adapted Llama.
        idx: the tokens to continue, (B, T), at least one in each row.
        max_new_tokens: number of tokens to add; with the first ones they must fit the model's block.
        temperature: 0 takes the likeliest token; 1 samples from the model.
        generator: the source of randomness when temperature > 0.
        stop: a token that ends a row; it fills the row up, and ends all when it has ended every row.

    Returns:
        The tokens with their continuation, (B, T + max_new_tokens) or less.

    Raises:
        ValueError: as `minitransformer.generate`, the tokens do not fit the block, or the model is no Llama.
    """
    if not any(isinstance(module, LlamaAttention) for module in model.modules()):
        raise ValueError(f"generate: a {type(model).__name__} remembers nothing; use minitransformer.generate")
    check_request(model, idx, max_new_tokens, temperature)
    room = model.config.block_size - idx.size(1)
    if max_new_tokens > room:
        raise ValueError(f"generate: max_new_tokens={max_new_tokens} does not fit the block; at most {room} do")
    plain = getattr(model, "_orig_mod", model)
    goes_on = plain.base if isinstance(plain, PromptedGPT | PrefixedGPT) else plain  # virtual tokens are read once
    idx = new = idx.long()
    ended = torch.zeros(len(idx), 1, dtype=torch.bool, device=idx.device)
    with remembering(plain):
        for step in range(max_new_tokens):
            last = torch.zeros_like(new, dtype=torch.bool)  # (B, T)
            last[:, -1] = True
            with head_at(plain, last):  # the head is a fifth of the work, and the other places' logits are of no use
                logits = (plain if step == 0 else goes_on)(new)  # (B, vocab_size)
            new = choose(logits, temperature, generator)  # (B, 1)
            if stop is not None:
                new = new.masked_fill(ended, stop)
                ended = ended | (new == stop)
            idx = torch.cat([idx, new], dim=1)
            if ended.all():
                break
    return idx


def examples(tokenizer: Tokenizer, questions: Sequence[str], answers: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Questions with their answers as `train` takes them: only the answer, and the end behind it, count.

    Args:
        tokenizer: of the model.
        questions: N texts, each as the model will be asked.
        answers: N texts, each as the model shall go on; mostly they begin with a space.

    Returns:
        Tokens and targets, (N, T) each, T that of the longest; the rest is filled with the end, and does not count.
    """
    inputs, targets = [], []
    for question, answer in zip(questions, answers, strict=True):
        asked, told = tokenizer.encode(question), tokenizer.encode(answer)
        row = torch.cat([asked, told, torch.tensor([tokenizer.end])])  # (T + 1,)
        target = row[1:].clone()
        target[: len(asked) - 1] = IGNORED
        inputs.append(row[:-1])
        targets.append(target)
    pad = nn.utils.rnn.pad_sequence  # on the right, where no token that counts can see it
    return pad(inputs, True, tokenizer.end), pad(targets, True, IGNORED)


def answers(
    model: nn.Module, tokenizer: Tokenizer, questions: Sequence[str], max_new_tokens: int = 12, batch_size: int = 32
) -> list[str]:
    """What a model says, greedily, to each of many questions, until it ends its turn or breaks the line.

    Questions of equal length go together, so none needs filling up and each is answered as if it were alone.

    Args:
        model: a Llama or an adapted Llama.
        tokenizer: its own.
        questions: N texts.
        max_new_tokens: the longest answer.
        batch_size: questions at a time.

    Returns:
        N answers, without the space around them.
    """
    encoded = [tokenizer.encode(question) for question in questions]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    said = [""] * len(encoded)
    device = next(model.parameters()).device
    while order:
        length = len(encoded[order[0]])
        batch = [i for i in order[:batch_size] if len(encoded[i]) == length]
        order = order[len(batch) :]
        idx = torch.stack([encoded[i] for i in batch]).to(device)  # (B, T)
        out = generate(model, idx, max_new_tokens, stop=tokenizer.end)[:, length:]
        for i, row in zip(batch, out, strict=True):
            said[i] = tokenizer.decode(row[row != tokenizer.end]).split("\n")[0].strip()
    return said
