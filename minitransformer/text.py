"""Real text, offline: the documentation and the source code that every Python installation carries.

The `docs` base is a character model of Python's language reference (`pydoc_data.topics`, half a million characters of
technical English). Adapting it to source code from the standard library is the course's real-text task.
"""

import math
import sysconfig
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minitransformer.tasks import Task

# Characters are ASCII: token 0 is the line break, tokens 1 to 95 are the printable characters from " " to "~".
TEXT_VOCAB_SIZE = 96
UNKNOWN = ord("?") - 31
UNKNOWN_AT_MOST = 0.01  # part of a text's characters that may become "?"
TEXT_BLOCK = 128  # block_size of the docs base
TEXT_CONTEXT = 96  # characters in a window; the block keeps room for virtual tokens
CODE_MODULES = ("argparse", "ast", "datetime", "dataclasses", "doctest", "inspect", "locale", "mailbox", "optparse")
CODE_MODULES += ("pdb", "pickle", "pickletools", "platform", "smtplib", "statistics", "tarfile", "typing", "zipfile")


def encode(text: str) -> Tensor:
    """Text to tokens, (N,). Tabs become spaces, every kind of line end a line break, and what is unknown a "?"."""
    ascii_text = tidy(text).encode("ascii", errors="replace")
    codes = torch.tensor(bytearray(ascii_text), dtype=torch.long)  # (N,)
    tokens = torch.where((codes >= 32) & (codes < 127), codes - 31, UNKNOWN)
    return tokens.masked_fill(codes == 10, 0)


def tidy(text: str) -> str:
    """Write tabs as spaces, and the line ends of Windows and of old Macs as line breaks."""
    return text.replace("\r\n", "\n").replace("\r", "\n").expandtabs(4)


def check_characters(text: str, name: str) -> None:
    """Make sure that nearly all characters of a text have a token: a model of question marks would score well.

    Raises:
        ValueError: more than UNKNOWN_AT_MOST of them have none; the message names the share and the characters.
    """
    text = tidy(text)
    unknown = Counter({c: n for c, n in Counter(text).items() if c != "\n" and not " " <= c <= "~"})
    share = unknown.total() / max(1, len(text))
    if share > UNKNOWN_AT_MOST:
        often = ", ".join(f"{character!r} ({count:,})" for character, count in unknown.most_common(8))
        more = f" and {len(unknown) - 8} more kinds" if len(unknown) > 8 else ""
        raise ValueError(
            f"the text of task {name!r} has {share:.1%} of characters that the character model does not know: "
            f"{often}{more}; it knows printable ASCII and the line break. "
            'Write the text in these (e for é, " for “) or take another one'
        )


def decode(tokens: Tensor) -> str:
    """Tokens (N,) to text."""
    return "".join("\n" if token == 0 else chr(token + 31) for token in tokens.tolist())


def docs_text() -> str:
    """Python's language reference as plain text, about half a million characters; it differs a little by version."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def code_text() -> str:
    """Source code of the standard library, about a million characters.

    Raises:
        ValueError: this Python keeps its library without source files.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    files = [folder / f"{name}.py" for name in CODE_MODULES]
    texts = [read_text(file) for file in files if file.exists()]
    if not texts:
        raise ValueError(f"no source code of the standard library in {folder}; give a text of your own with --corpus")
    return "\n".join(texts)


def read_text(file: str | Path) -> str:
    """Read a UTF-8 text file.

    Raises:
        ValueError: the file is missing, unreadable or not text.
    """
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"corpus {file}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError(f"corpus {file}: is not UTF-8 text; save it as a plain text file")
    return text


class TextTask(Task):
    """Predict the next character of a text; the last tenth of the text is held out.

    Args:
        name: what the task is called.
        source: the text, or a function that returns it when it is first needed.
        steps: training steps that the comparison gives to every method.
        context: characters in a window.

    Raises:
        ValueError: (at first use) the text has too many characters outside ASCII, is too short for a training window and a
            held-out window, or its end only repeats it.
    """

    base = "docs"
    metric = "bits per character"
    batch_size = 16
    test_size = 64  # held-out windows a score is measured on

    def __init__(self, name: str, source: str | Callable[[], str], steps: int = 0, context: int = TEXT_CONTEXT) -> None:
        self.name, self.source, self.steps, self.context = name, source, steps, context

    @cached_property
    def splits(self) -> tuple[Tensor, Tensor]:
        """Training tokens (N,), and held-out windows that do not occur in them, (windows, context + 1)."""
        text = self.source() if callable(self.source) else self.source
        check_characters(text, self.name)
        tokens = encode(text)
        window = self.context + 1
        if len(tokens) < 2 * window:
            raise ValueError(
                f"the text of task {self.name!r} has {len(tokens)} characters, which is too short: "
                f"{2 * window} are needed for one training and one held-out window"
            )
        cut = len(tokens) - max(len(tokens) // 10, window)
        seen = decode(tokens[:cut])
        windows = [row for row in tokens[cut:].unfold(0, window, window) if decode(row) not in seen]
        if not windows:
            raise ValueError(f"the text of task {self.name!r} repeats itself: its last tenth holds nothing new")
        return tokens[:cut], torch.stack(windows)

    @property
    def held_out(self) -> Tensor:
        """The held-out windows of a score, evenly spread, (at most test_size, context + 1); the seed shifts them."""
        _, windows = self.splits
        every = max(1, len(windows) // self.test_size)
        return windows[self.seed % every :: every][: self.test_size]

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Windows from anywhere in the training text: two tensors (B, context)."""
        tokens, _ = self.splits
        start = torch.randint(len(tokens) - self.context, (batch_size, 1), generator=generator)
        windows = tokens[start + torch.arange(self.context + 1)]  # (B, context + 1)
        return windows[:, :-1], windows[:, 1:]

    def score(self, model: nn.Module) -> float:
        """Mean cross-entropy on the held-out windows, in bits per character."""
        return self.measures(model)["score"]

    def measures(self, model: nn.Module) -> dict[str, float]:
        """Bits per character on the held-out windows (as `score` and as `bits`), and the part of characters foreseen."""
        windows = self.held_out.to(next(model.parameters()).device)
        logits, wanted = model(windows[:, :-1]).float(), windows[:, 1:]  # (windows, context, vocab_size)
        bits = F.cross_entropy(logits.flatten(0, 1), wanted.flatten()).item() / math.log(2)
        return {"score": bits, "per_symbol": (logits.argmax(dim=-1) == wanted).float().mean().item(), "bits": bits}


DOCS = TextTask("docs", docs_text, context=TEXT_BLOCK)  # what the base is pretrained on
OLD_TEXT = TextTask("docs", docs_text)  # the same for an adapted model, whose virtual tokens may take room in the block
CODE = TextTask("code", code_text, steps=200)
