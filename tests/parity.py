"""What the comparisons with other libraries share: our GPT as their GPT-2, and a pair of models with equal weights."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import GPT2Config, GPT2LMHeadModel

from minitransformer.model import GPT, GPTConfig
from minitransformer.surgery import trainable_state_dict

SHAPE = {"vocab_size": 30, "n_layer": 3, "n_head": 4, "n_embd": 16, "n_inner": 40}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def tokens() -> Tensor:
    """The same every time."""
    return torch.randint(30, (3, 24), generator=torch.Generator().manual_seed(0))


def as_gpt2(gpt: GPT) -> GPT2LMHeadModel:
    """GPT-2 of Hugging Face with the weights and the precision of our GPT; its attention is the plain one ("eager")."""
    config: GPTConfig = gpt.config
    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.block_size,
            n_layer=config.n_layer,
            n_head=config.n_head,
            n_embd=config.n_embd,
            n_inner=config.n_inner,
            tie_word_embeddings=False,
            attn_implementation="eager",
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    theirs = theirs.to(gpt.wte.weight.dtype).eval()  # first the precision, so that none is lost in copying
    weights = {}
    for name, tensor in gpt.state_dict().items():
        module, kind = name.rsplit(".", 1)
        is_matrix = kind == "weight" and module.endswith("_proj")
        name = name.replace("blocks.", "h.").replace("o_proj", "c_proj")
        name = name.replace("up_proj", "c_fc").replace("down_proj", "c_proj")
        name = name if name.startswith("lm_head") else f"transformer.{name}"
        weights[name] = tensor.T if is_matrix else tensor  # its Conv1D keeps (in, out), a linear layer (out, in)
    for i in range(config.n_layer):
        for kind in ("weight", "bias"):
            parts = [weights.pop(f"transformer.h.{i}.attn.{letter}_proj.{kind}") for letter in "qkv"]
            weights[f"transformer.h.{i}.attn.c_attn.{kind}"] = torch.cat(parts, dim=-1)
    theirs.load_state_dict(weights, strict=True)
    return theirs


def check_same_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float) -> None:
    """Compare gradients by name; an error is measured against the largest number of the tensor."""
    scales = {name: gradient.abs().max() for name, gradient in theirs.items()}
    assert all(scale > 1e-4 for scale in scales.values())
    one, two = ({name: tensors[name] / scale for name, scale in scales.items()} for tensors in (ours, theirs))
    assert_close(one, two, atol=tolerance, rtol=0)


@dataclass
class Pair:
    """Our adapted model and a library's on the same base; what trains has the same random weights in both.

    Attributes:
        base: the plain GPT under both.
        ours: our adapted model.
        theirs: the library's.
        as_theirs: tells where one of our trained tensors is in theirs: (name, tensor) -> (name, tensor), for weights
            and for gradients alike.
        options: what else their model is called with.
    """

    base: GPT
    ours: nn.Module
    theirs: nn.Module
    as_theirs: Callable[[str, Tensor], tuple[str, Tensor]]
    options: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Move all that trains away from where it starts, where much is zero or one, and copy it."""
        for tensor in trainable_state_dict(self.ours).values():
            tensor.add_(0.3 * torch.randn_like(tensor))
        theirs = trainable_state_dict(self.theirs)
        ours = self.translated(trainable_state_dict(self.ours))
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            assert tensor.shape == theirs[name].shape
            theirs[name].copy_(tensor)

    def translated(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Our tensors by the library's names, in the library's layout."""
        return dict(self.as_theirs(name, tensor) for name, tensor in tensors.items())

    def their_logits(self, idx: Tensor) -> Tensor:
        """Logits of the real tokens, which come last: (B, T) -> (B, T, vocab_size)."""
        out = self.theirs(idx, **self.options)
        return getattr(out, "logits", out)[:, -idx.size(1) :]

    @torch.no_grad()
    def check_logits(self) -> None:
        idx, tolerance = tokens(), TOLERANCE[self.base.wte.weight.dtype]
        ours, theirs = self.ours(idx), self.their_logits(idx)
        assert_close(ours, theirs, atol=tolerance, rtol=tolerance)
        assert not torch.allclose(self.base(idx), theirs, atol=1e-2)  # else both could add nothing

    def check_gradients(self) -> None:
        idx, tolerance = tokens(), TOLERANCE[self.base.wte.weight.dtype]
        self.ours(idx).square().mean().backward()
        self.their_logits(idx).square().mean().backward()
        ours = {name: p.grad for name, p in self.ours.named_parameters() if p.requires_grad}
        theirs = {name: p.grad for name, p in self.theirs.named_parameters() if p.requires_grad}
        check_same_gradients(self.translated(ours), theirs, tolerance)
