"""Text to tokens and back, as a model's own files say: byte-level BPE, and the template of a chat."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from minitransformer.real.files import read_json
from minitransformer.real.gguf import GGUF

SPECIAL = 3  # GGUF's number for tokens that mark something and are no text


class Tokenizer:
    """Text to tokens and back.

    Args:
        inner: a tokenizer of the library `tokenizers`.
        end: the token that ends a turn.
        template: of a chat, in Jinja; None: the model has none.
    """

    def __init__(self, inner: "tokenizers.Tokenizer", end: int, template: str | None = None) -> None:  # noqa: F821
        self.inner, self.end, self.template = inner, end, template

    def encode(self, text: str) -> Tensor:
        """Tokens of a text, (T,), with nothing put in front."""
        return torch.tensor(self.inner.encode(text, add_special_tokens=False).ids, dtype=torch.long)

    def decode(self, tokens: Tensor) -> str:
        """The text of tokens, (T,), special ones as they are written."""
        return self.inner.decode(tokens.tolist(), skip_special_tokens=False)

    def chat(self, question: str) -> str:
        """A question in the form in which the model was taught to be asked; the answer comes next.

        Raises:
            ValueError: the model has no such form.
        """
        if self.template is None:
            raise ValueError("chat: this model was not taught to chat; give the text itself")
        from jinja2.sandbox import ImmutableSandboxedEnvironment  # a template is a program: this one can do no harm

        template = ImmutableSandboxedEnvironment().from_string(self.template)
        return template.render(messages=[{"role": "user", "content": question}], add_generation_prompt=True)


def library() -> object:
    """The library `tokenizers`.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import tokenizers
    except ImportError:
        raise ValueError("the library tokenizers is missing; `make real` installs it") from None
    return tokenizers


def tokenizer_from_gguf(opened: GGUF) -> Tokenizer:
    """The tokenizer that a GGUF file describes.

    Raises:
        ValueError: it is of a kind that is not known here.
    """
    tokenizers = library()
    level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)  # cuts as GPT-2 does
    digits = tokenizers.pre_tokenizers.Digits(individual_digits=True)
    cuts = {"gpt-2": level, "smollm": tokenizers.pre_tokenizers.Sequence([digits, level])}
    kind, cut = opened.setting("tokenizer.ggml.model", str), opened.setting("tokenizer.ggml.pre", str)
    if kind != "gpt2" or cut not in cuts:
        raise ValueError(f"{opened.file}: a tokenizer of kind {kind!r} that cuts like {cut!r} is not known here")
    tokens = opened.setting("tokenizer.ggml.tokens", list)
    merges = [tuple(merge.split(" ")) for merge in opened.setting("tokenizer.ggml.merges", list)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    try:
        inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    except Exception as error:  # the library's own, of no narrower type
        raise ValueError(f"{opened.file} is damaged: its merges are no BPE ({error})") from None
    inner.pre_tokenizer, inner.decoder = cuts[cut], tokenizers.decoders.ByteLevel()
    kinds = opened.setting("tokenizer.ggml.token_type", list)
    special = [token for token, kind in zip(tokens, kinds, strict=False) if kind == SPECIAL]
    inner.add_special_tokens([tokenizers.AddedToken(token, normalized=False, special=True) for token in special])
    template = opened.settings.get("tokenizer.chat_template")
    return Tokenizer(inner, opened.setting("tokenizer.ggml.eos_token_id", int), template)


def tokenizer_from_directory(directory: str | Path) -> Tokenizer:
    """The tokenizer of a directory as Hugging Face writes it: tokenizer.json, and what config.json says of the end.

    Raises:
        ValueError: it is missing or damaged.
    """
    file = Path(directory) / "tokenizer.json"
    if not file.is_file():
        raise ValueError(f"{file} is missing; without it, load the model alone with llama_from_directory")
    try:
        inner = library().Tokenizer.from_file(str(file))
    except Exception as error:  # the library's own, of no narrower type
        raise ValueError(f"{file} is damaged ({error}); copy it again") from None
    end = read_json(Path(directory) / "config.json").get("eos_token_id")
    end = end[0] if isinstance(end, Sequence) and end else end
    more = Path(directory) / "tokenizer_config.json"
    template = read_json(more).get("chat_template") if more.is_file() else None
    return Tokenizer(inner, end if type(end) is int else -1, template if isinstance(template, str) else None)
