"""Methods against their formulas, written down a second time with tensor functions alone."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from parity import SHAPE, TOLERANCE, check_same_gradients, tokens
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.testing import assert_close

from minitransformer.experiments.variants import attach_intrinsic_dense, attach_lst_sum
from minitransformer.methods.adapter import attach_adapter
from minitransformer.methods.intrinsic import attach_intrinsic
from minitransformer.methods.lst import attach_lst
from minitransformer.surgery import trainable_state_dict

every_precision = pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCE.items(), ids=str)


def randomize(adapted):
    for tensor in trainable_state_dict(adapted).values():
        tensor.normal_(std=0.3)
    return adapted


def gelu(x):
    """GPT-2's approximation of x times the normal distribution function."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


# ---- the bottleneck adapter (Houlsby et al. 2019) -------------------------------------------------------------------


def logits_with_adapters(base, w, idx):
    """A GPT with an adapter after each sublayer, x + up(gelu(down(x))), before the result is added to the stream."""

    def adapter(x, name):
        hidden = gelu(x @ w[f"{name}.down_proj.weight"].T + w[f"{name}.down_proj.bias"])
        return x + hidden @ w[f"{name}.up_proj.weight"].T + w[f"{name}.up_proj.bias"]

    x = base.embed(idx)
    for i, block in enumerate(base.blocks):
        x = x + adapter(block.attn(block.ln_1(x)), f"blocks.{i}.attn.adapter")
        x = x + adapter(block.mlp(block.ln_2(x)), f"blocks.{i}.mlp.adapter")
    return base.unembed(x)


@every_precision
def test_logits_of_the_adapter_are_those_of_its_formula(make_gpt, dtype, tolerance):
    base = make_gpt(**SHAPE).to(dtype)
    adapted = randomize(attach_adapter(copy.deepcopy(base), bottleneck=5))
    idx = tokens()
    with torch.no_grad():
        expected = logits_with_adapters(base, trainable_state_dict(adapted), idx)
        assert_close(adapted(idx), expected, atol=tolerance, rtol=tolerance)
        assert not torch.allclose(base(idx), expected, atol=1e-2)


# ---- ladder side tuning (Sung et al. 2022) --------------------------------------------------------------------------

R = 2  # the side is half as wide


def block(x, w, name):
    """A transformer block, of the backbone or of the side."""

    def linear(x, part):
        return F.linear(x, w[f"{name}.{part}.weight"], w[f"{name}.{part}.bias"])

    def norm(x, part):
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.{part}.weight"], w[f"{name}.{part}.bias"])

    h = norm(x, "ln_1")
    T, width = x.size(1), x.size(2) // SHAPE["n_head"]
    heads = []
    for q, k, v in zip(*(linear(h, f"attn.{letter}_proj").split(width, dim=-1) for letter in "qkv"), strict=True):
        scores = (q @ k.mT / math.sqrt(width)).exp() * torch.ones(T, T).tril()  # (B, T, T): no future
        heads.append(scores / scores.sum(dim=-1, keepdim=True) @ v)
    x = x + linear(torch.cat(heads, dim=-1), "attn.o_proj")
    return x + linear(gelu(linear(norm(x, "ln_2"), "mlp.up_proj")), "mlp.down_proj")


def ladder_logits(w, idx, alone=True):
    """The head reads the side's last state, widened: `alone` as in the paper, or added to the backbone's."""

    def linear(x, name):
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    h = w["base.wte.weight"][idx] + w["base.wpe.weight"][: idx.size(1)]
    s = linear(h, "ladders.0")  # the ladder of the embeddings
    for i in range(SHAPE["n_layer"]):
        h = block(h, w, f"base.blocks.{i}")
        g = 1 / (1 + torch.exp(-w["gates"][i] / 0.1))
        s = block(g * s + (1 - g) * linear(h, f"ladders.{i + 1}"), w, f"side.{i}")
    out = linear(s, "up_proj") if alone else h + linear(s, "up_proj")
    out = F.layer_norm(out, out.shape[-1:], w["base.ln_f.weight"], w["base.ln_f.bias"])
    return F.linear(out, w["base.lm_head.weight"])


@every_precision
@pytest.mark.parametrize(("attach", "alone"), [(attach_lst, True), (attach_lst_sum, False)])
def test_logits_of_the_ladder_are_those_of_its_formula(make_gpt, attach, alone, dtype, tolerance):
    adapted = randomize(attach(make_gpt(**SHAPE).to(dtype), reduction_factor=R))
    w, idx = adapted.state_dict(), tokens()
    with torch.no_grad():
        logits = adapted(idx)
        assert_close(logits, ladder_logits(w, idx, alone), atol=tolerance, rtol=tolerance)
        assert not torch.allclose(logits, ladder_logits(w, idx, not alone), atol=1e-2)


@every_precision
def test_gradients_of_the_ladder_are_those_of_its_formula(make_gpt, dtype, tolerance):
    adapted = randomize(attach_lst(make_gpt(**SHAPE).to(dtype), reduction_factor=R))
    idx, weights = tokens(), dict(adapted.named_parameters())
    # A bias of the keys moves all scores of a query alike, which softmax does not see: its gradient is noise.
    trained = {name: p for name, p in weights.items() if p.requires_grad and not name.endswith("k_proj.bias")}
    ours, expected = (
        dict(zip(trained, torch.autograd.grad(logits.square().mean(), list(trained.values())), strict=True))
        for logits in (adapted(idx), ladder_logits(weights, idx))
    )
    check_same_gradients(ours, expected, tolerance)


def test_no_gradient_enters_the_backbone(make_gpt):
    """Not even where every weight is told to train: only the final norm and the head, behind the side, get one."""
    adapted = randomize(attach_lst(make_gpt(**SHAPE), reduction_factor=R)).requires_grad_()
    adapted(tokens()).square().mean().backward()
    reached = {name for name, p in adapted.base.named_parameters() if p.grad is not None}
    assert reached == {"ln_f.weight", "ln_f.bias", "lm_head.weight"}
    assert all(p.grad.any() for name, p in adapted.named_parameters() if not name.startswith("base."))


# ---- intrinsic dimension (Li et al. 2018) ---------------------------------------------------------------------------

D = 7  # dimension of the subspace


@pytest.fixture(params=[attach_intrinsic, attach_intrinsic_dense])
def subspace(request, make_gpt):
    """Our model with a random z, the weights it starts from as one vector, and the matrix P, written out."""
    base = make_gpt(**SHAPE).double()
    adapted = request.param(copy.deepcopy(base), dimension=D)
    theta = parameters_to_vector(base.parameters()).detach()  # (N,)
    columns = []
    with torch.no_grad():
        for unit in torch.eye(D, dtype=theta.dtype):
            adapted.z.copy_(unit)
            columns.append(adapted.project(len(theta)))
        adapted.z.normal_(std=3.0)
    return base, adapted, theta, torch.stack(columns, dim=1)


@pytest.mark.parametrize("subspace", [attach_intrinsic], indirect=True)
def test_every_weight_follows_one_number(subspace):
    """So the columns of P share no row: they are orthogonal exactly, and their lengths are about one."""
    _, _, theta, P = subspace
    N = len(theta)
    assert torch.equal((P != 0).sum(dim=1), torch.ones(N, dtype=torch.long))
    assert_close(P.abs().max(dim=1).values, torch.full((N,), math.sqrt(D / N), dtype=P.dtype))
    products = P.T @ P
    assert torch.equal(products, products.diag().diag())
    assert_close(products.diag(), torch.ones(D, dtype=P.dtype), atol=0.1, rtol=0)
    assert (P.sign().sum(dim=0).abs() < 0.1 * N / D).all()  # as many pluses as minuses, about


def test_logits_are_those_of_the_weights_moved_by_hand(subspace):
    base, adapted, theta, P = subspace
    idx = tokens()
    with torch.no_grad():
        start, moved = base(idx), theta + P @ adapted.z
        vector_to_parameters(moved, base.parameters())
        assert_close(adapted(idx), base(idx), atol=1e-10, rtol=1e-10)
        assert not torch.allclose(start, base(idx), atol=1e-2)


def test_gradient_of_z_is_the_projected_gradient_of_all_weights(subspace):
    base, adapted, theta, P = subspace
    idx = tokens()
    vector_to_parameters(theta + P @ adapted.z.detach(), base.parameters())
    full = torch.autograd.grad(base(idx).square().mean(), list(base.parameters()))
    adapted(idx).square().mean().backward()
    check_same_gradients({"z": adapted.z.grad}, {"z": P.T @ parameters_to_vector(full)}, 1e-10)
