"""What holds of every method in every precision and state: it can be saved and brought back, merged, taken off, or says why not."""

import copy
import json
import pickle
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from minitransformer.adapters import attach, checksum, count, detach, load_adapter, merge, read_adapter, save_adapter
from minitransformer.experiments.variants import VARIANTS
from minitransformer.method import Adaptation, Method, trained
from minitransformer.methods import METHODS
from minitransformer.methods.dora import DoRALinear
from minitransformer.methods.ia3 import Scaled
from minitransformer.methods.library import mix_loras
from minitransformer.methods.prefix import discard_mlp
from minitransformer.surgery import MATRICES, base_weights, count_parameters, fingerprint, freeze, trainable_state_dict
from minitransformer.train import train

MERGEABLE = [name for name, method in METHODS.items() if method.mergeable]
ADDS = [name for name in METHODS if name != "full"]
# Settings that are not the defaults, so that one that gets lost changes the logits.
UNUSUAL = {
    "lora": {"rank": 3, "alpha": 40.0, "target_modules": ("q_proj", "down_proj")},
    "dora": {"rank": 2, "alpha": 30.0, "target_modules": ["v_proj"]},
    "intrinsic": {"dimension": 30, "seed": 5},
    "mam": {"num_virtual_tokens": 3, "bottleneck": 4, "scale": 9.0},
    "prefix": {"num_virtual_tokens": 3, "projection_dim": 5},
    "prompt": {"num_virtual_tokens": 3},
    "lst": {"reduction_factor": 2},
    "ia3": {"target_modules": ("q_proj", "down_proj"), "feedforward_modules": ("q_proj",)},
    "adapter": {"bottleneck": 3, "target_modules": ("mlp",)},
    "full": {},
}
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]

every_method = pytest.mark.parametrize("name", METHODS)
every_precision = pytest.mark.parametrize("dtype", DTYPES, ids=str)
half = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)


def tokens(batch=3, length=12):
    return torch.randint(10, (batch, length), generator=torch.Generator().manual_seed(0))


def randomize(adapted, std=0.3):
    """As if trained: random numbers in all that trains."""
    for tensor in trainable_state_dict(adapted).values():
        tensor.add_(std * torch.randn(tensor.shape, dtype=torch.float64).to(tensor))
    return adapted


@torch.no_grad()
def logits_of(model):
    return model(tokens())


@pytest.fixture
def file(tmp_path):
    return tmp_path / "one.safetensors"


@contextmanager
def refused(model, message=None):
    """Check that a call raises a ValueError and changes nothing: modules, weights to the bit, what trains, the record."""

    def state():
        weights = {name: (p.detach().clone(), p.requires_grad) for name, p in model.named_parameters()}
        return dict(model.named_modules()), weights, getattr(model, "adaptation", None)

    modules, weights, record = state()
    with pytest.raises(ValueError, match=message):
        yield
    now_modules, now, now_record = state()
    assert (now_modules, now_record) == (modules, record)
    assert now.keys() == weights.keys()
    for name, (tensor, trains) in now.items():
        assert torch.equal(tensor.nan_to_num(), weights[name][0].nan_to_num()) and trains == weights[name][1], name


# ---- an adapted model knows what it is, and comes back from its file as it was ----------------------------------------


STATES = {
    "as it is": lambda model: model,
    "copied": copy.deepcopy,
    "pickled": lambda model: pickle.loads(pickle.dumps(model)),
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "to 64 bits": lambda model: model.double(),
    "to bfloat16": lambda model: model.bfloat16(),
    "to float16": lambda model: model.half(),
    "to the device": lambda model: model.to("cpu"),
}


@every_method
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_comes_back_from_its_file_with_the_same_logits_in_every_state(gpt, file, name, state, dtype):
    """The settings are given to `attach` alone, the base moves to the precision that the adapted model has."""
    base = copy.deepcopy(gpt.to(dtype))
    adapted = STATES[state](randomize(attach(gpt, name, **UNUSUAL[name])))
    settings = METHODS[name].settings(**UNUSUAL[name])
    assert (adapted.adaptation.method, adapted.adaptation.settings) == (name, settings)
    save_adapter(adapted, file)
    if name != "full":  # whose own weights are the base's
        base.to(next(iter(base_weights(adapted).values())).dtype)
    before = copy.deepcopy(base)
    again = load_adapter(base, file)
    assert torch.equal(logits_of(again), logits_of(adapted))
    assert not torch.allclose(logits_of(again).float(), logits_of(before).float(), atol=1e-2)
    assert list(again.adaptation.settings) == list(settings)
    assert list(trainable_state_dict(again)) == list(trained(adapted).weights)  # and it can be trained on


@every_method
def test_loading_draws_no_random_numbers(gpt, file, name):
    save_adapter(attach(copy.deepcopy(gpt), name), file)
    before = torch.get_rng_state()
    load_adapter(gpt, file)
    count(gpt.config, name)
    assert torch.equal(torch.get_rng_state(), before)


def test_settings_changed_by_the_caller_later_do_not_change_the_record(gpt):
    targets = ["q_proj"]
    adapted = attach(gpt, "lora", target_modules=targets)
    targets.append("v_proj")
    assert adapted.adaptation.settings["target_modules"] == ["q_proj"]


def test_compiled_parts_inside_are_saved_under_their_own_names(gpt, file):
    base = copy.deepcopy(gpt)
    adapted = randomize(attach(gpt, "lora"))
    adapted.blocks[1] = torch.compile(adapted.blocks[1], backend="eager")
    save_adapter(adapted, file)
    assert not [name for name in read_adapter(file).weights if "_orig_mod" in name]
    assert_close(logits_of(load_adapter(base, file)), logits_of(adapted), atol=1e-6, rtol=1e-6)


def test_prefix_whose_mlp_is_gone_comes_back_without_it(gpt, file):
    base = copy.deepcopy(gpt)
    adapted = discard_mlp(randomize(attach(gpt, "prefix", **UNUSUAL["prefix"])))
    save_adapter(adapted, file)
    assert torch.equal(logits_of(load_adapter(base, file)), logits_of(adapted))


@pytest.mark.parametrize("name", ADDS)
def test_base_that_changed_after_attaching_is_recorded_as_it_is(gpt, file, name):
    fresh = copy.deepcopy(gpt)
    adapted = randomize(attach(gpt, name))
    with torch.no_grad():
        next(iter(base_weights(adapted).values())).view(-1)[7] += 1
    save_adapter(adapted, file)
    with refused(fresh, "another base"):
        load_adapter(fresh, file)
    changed = detach(copy.deepcopy(adapted))
    assert torch.equal(logits_of(load_adapter(changed, file)), logits_of(adapted))


# ---- what is never saved ----------------------------------------------------------------------------------------------


def is_refused_at_saving(adapted, file, message):
    with refused(adapted, message):
        save_adapter(adapted, file)
    assert not file.exists()


@every_method
def test_frozen_model_is_not_saved(gpt, file, name):
    adapted = attach(gpt, name)
    freeze(adapted)
    is_refused_at_saving(adapted, file, "is frozen and would be left out")


@every_method
def test_half_frozen_model_is_not_saved(gpt, file, name):
    adapted = attach(gpt, name)
    last = list(trainable_state_dict(adapted))[-1]
    adapted.get_parameter(last).requires_grad_(False)
    is_refused_at_saving(adapted, file, f"{last!r} is frozen")


@pytest.mark.parametrize("name", ADDS)
def test_model_whose_base_trains_too_is_not_saved(gpt, file, name):
    adapted = attach(gpt, name)
    gpt.ln_f.weight.requires_grad_()
    is_refused_at_saving(adapted, file, "weight of the base and trains too")


@pytest.mark.parametrize("name", MERGEABLE)
def test_merged_model_is_not_saved(gpt, file, name):
    is_refused_at_saving(merge(randomize(attach(gpt, name))), file, "nothing is attached")


@pytest.mark.parametrize("name", ["lora", "dora", "ia3"])
def test_model_merged_by_hand_is_not_saved(gpt, file, name):
    """`fold` works in place and leaves the record: 53 weights of the base would be called a LoRA."""
    is_refused_at_saving(METHODS[name].fold(attach(gpt, name)).requires_grad_(), file, "not there as it was")


@every_method
def test_detached_model_is_not_saved(gpt, file, name):
    is_refused_at_saving(detach(attach(gpt, name)), file, "nothing is attached")


@every_method
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_saved(gpt, file, name, value):
    adapted = attach(gpt, name)
    list(trainable_state_dict(adapted).values())[-1].view(-1)[0] = value
    is_refused_at_saving(adapted, file, "not finite")


def test_plain_and_mixed_models_are_not_saved(gpt, file):
    is_refused_at_saving(gpt, file, "nothing is attached")
    lora = trained(randomize(attach(copy.deepcopy(gpt), "lora")))
    is_refused_at_saving(mix_loras(gpt, {"one": lora}), file, "nothing is attached")


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_that_METHODS_does_not_know_is_not_saved(gpt, file, name):
    adapted = VARIANTS[name].attach(gpt)
    with pytest.raises(ValueError, match=f"there is no method '{name}'"):
        save_adapter(adapted, file)
    assert not file.exists()


# ---- what is never loaded ---------------------------------------------------------------------------------------------


@pytest.fixture
def saved(gpt, file):
    """A file of an unusual LoRA."""
    save_adapter(randomize(attach(copy.deepcopy(gpt), "lora", **UNUSUAL["lora"])), file)
    return file


def rewrite(file, change, weights=None):
    """The same file with another record and weights, and a checksum that fits."""
    with safe_open(file, framework="pt") as old:
        record = json.loads(old.metadata()["adapter"])
        tensors = {key: old.get_tensor(key) for key in old.keys()}
    change(record)
    tensors = weights(tensors) if weights else tensors
    text = json.dumps(record)
    save_file(tensors, file, {"adapter": text, "checksum": checksum(text, tensors)})


def without(key):
    return lambda record: record.pop(key)


def nan_in(weights):
    return {name: torch.full_like(w, torch.nan) for name, w in weights.items()}


SPOILT = {
    "missing": (lambda file: file.unlink(), "cannot be read"),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), "cannot be read"),
    "empty": (lambda file: file.write_bytes(b""), "cannot be read"),
    "truncated": (lambda file: file.write_bytes(file.read_bytes()[:-8]), "cannot be read"),
    "text": (lambda file: file.write_text("hello"), "cannot be read"),
    "a bit flipped": (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"\x00"), "damaged"),
    "alpha edited": (lambda file: file.write_bytes(file.read_bytes().replace(b"40.0", b"41.0")), "damaged"),
    "foreign": (lambda file: save_file({"a": torch.ones(1)}, file), "holds no adapter"),
    "foreign metadata": (lambda file: save_file({"a": torch.ones(1)}, file, {"method": "lora"}), "holds no adapter"),
    "later version": (lambda file: rewrite(file, lambda r: r.update(version=2)), "version 2"),
    "unknown method": (lambda file: rewrite(file, lambda r: r.update(method="qlora")), "no method 'qlora'"),
    "another method": (lambda file: rewrite(file, lambda r: r.update(method="dora")), "do not fit"),
    "method of other settings": (lambda file: rewrite(file, lambda r: r.update(method="prompt")), "other settings"),
    "no alpha": (lambda file: rewrite(file, lambda r: r["settings"].pop("alpha")), "other settings"),
    "bad alpha": (lambda file: rewrite(file, lambda r: r["settings"].update(alpha=-1)), "alpha"),
    "another rank": (lambda file: rewrite(file, lambda r: r["settings"].update(rank=5)), "do not fit"),
    "no weights": (lambda file: rewrite(file, lambda r: None, lambda w: {}), "do not fit"),
    "half the weights": (lambda file: rewrite(file, lambda r: None, lambda w: dict(list(w.items())[:4])), "do not fit"),
    "nan": (lambda file: rewrite(file, lambda r: None, nan_in), "not finite"),
    "another base": (lambda file: rewrite(file, lambda r: r.update(base="0" * 64)), "another base"),
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_spoilt_file_is_refused_by_its_name_and_the_model_unchanged(gpt, saved, spoil):
    damage, message = SPOILT[spoil]
    damage(saved)
    gpt.blocks[0].requires_grad_(False)  # what trains must stay as it was, whatever that is
    with refused(gpt, message):
        load_adapter(gpt, saved)


def test_good_file_passes_where_the_spoilt_ones_fail(gpt, saved):
    rewrite(saved, lambda record: None)
    load_adapter(gpt, saved)


@every_method
def test_base_of_random_weights_or_in_another_precision_is_refused_unless_asked_for(gpt, make_gpt, file, name):
    save_adapter(randomize(attach(copy.deepcopy(gpt), name, **UNUSUAL[name])), file)
    for other in (make_gpt(), copy.deepcopy(gpt).bfloat16(), copy.deepcopy(gpt).double()):
        with refused(other, "another base"):
            load_adapter(other, file)
        adapted = load_adapter(other, file, allow_other_base=True)
        assert logits_of(adapted).isfinite().all()
    narrow = make_gpt(n_embd=12)
    if name != "intrinsic":  # whose numbers fit a model of any shape
        with refused(narrow):
            load_adapter(narrow, file, allow_other_base=True)


@pytest.mark.parametrize("name", ADDS)
def test_file_is_not_loaded_on_top_of_a_method(gpt, saved, name):
    adapted = attach(gpt, name)
    with refused(adapted, "attached already"):
        load_adapter(adapted, saved, allow_other_base=True)


def test_file_is_not_loaded_into_a_compiled_model(gpt, saved):
    with refused(gpt, "compiled"):
        load_adapter(torch.compile(gpt, backend="eager"), saved)


# ---- merging ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MERGEABLE)
@every_precision
def test_merged_copy_speaks_like_the_adapted_model_which_stays_as_it_is(gpt, name, dtype):
    """In 16 bits the merged weights are rounded: the difference is that of rounding, measured on the base in 32 bits."""
    adapted = randomize(attach(gpt.to(dtype), name, **UNUSUAL[name]), std=0.05)
    before = copy.deepcopy(adapted)
    merged = merge(adapted)
    assert {p.dtype for p in merged.parameters()} == {dtype}
    assert not {p.data_ptr() for p in merged.parameters()} & {p.data_ptr() for p in adapted.parameters()}
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12, torch.float16: 0.02, torch.bfloat16: 0.1}[dtype]
    wanted = logits_of(adapted)
    assert (logits_of(merged) - wanted).abs().max() < tolerance * wanted.abs().max()
    assert torch.equal(wanted, logits_of(before))
    assert all(p.requires_grad for p in merged.parameters())
    after = {key: p.detach().clone() for key, p in adapted.named_parameters()}
    merged(tokens()).float().square().mean().backward()
    torch.optim.SGD(merged.parameters(), lr=1.0).step()  # trained on, it leaves the adapted model alone
    assert all(torch.equal(p, after[key]) for key, p in adapted.named_parameters())
    with refused(merged, "nothing is attached"):
        merge(merged)
    with refused(merged, "nothing is attached"):
        METHODS[name].merge(merged)


@pytest.mark.parametrize("name", MERGEABLE)
def test_merged_head_stays_tied(gpt, name):
    gpt.lm_head.weight = gpt.wte.weight
    names = [key for key, _ in gpt.named_parameters()]
    adapted = randomize(attach(gpt, name))
    merged = merge(adapted)
    assert merged.lm_head.weight is merged.wte.weight
    assert [key for key, _ in merged.named_parameters()] == names
    assert_close(logits_of(merged), logits_of(adapted), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_tied_head_is_saved_and_counted_once(gpt, file, name):
    gpt.lm_head.weight = gpt.wte.weight
    tied = copy.deepcopy(gpt)
    untied = copy.deepcopy(gpt)
    untied.lm_head.weight = nn.Parameter(untied.wte.weight.detach().clone())
    adapted = randomize(attach(gpt, name))
    assert count(tied, name) == count_parameters(adapted, trainable_only=True)
    save_adapter(adapted, file)
    with refused(untied, "another base"):  # its subspace would be another one
        load_adapter(untied, file)
    assert torch.equal(logits_of(load_adapter(tied, file)), logits_of(adapted))


@pytest.mark.parametrize("name", MERGEABLE)
def test_compiled_model_is_merged_into_a_plain_one(gpt, name):
    adapted = randomize(attach(gpt, name))
    merged = merge(torch.compile(adapted, backend="eager"))
    assert type(merged) is type(gpt) and not [key for key in merged.state_dict() if "_orig_mod" in key]
    assert_close(logits_of(merged), logits_of(adapted), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MERGEABLE)
@pytest.mark.parametrize("other", METHODS)
def test_merging_refuses_what_another_method_has_attached(gpt, name, other):
    adapted = randomize(attach(gpt, other))
    if name != other:
        with refused(adapted, f"has {other!r} attached, not {name!r}"):
            METHODS[name].merge(adapted)


@pytest.mark.parametrize("name", ["lora", "dora", "ia3", "full"])
def test_merging_refuses_a_model_that_carries_more(gpt, name):
    adapted = randomize(attach(gpt, name))
    gpt.blocks[1].mlp.act = Scaled(gpt.blocks[1].mlp.act, torch.ones(gpt.config.n_inner))
    if name != "ia3":
        with refused(adapted, r"Scaled (at 'blocks\.1\.mlp\.act' is not part of|attached already)"):
            merge(adapted)


def test_merging_refuses_a_mixed_model(gpt):
    lora = trained(randomize(attach(copy.deepcopy(gpt), "lora")))
    mixed = mix_loras(gpt, {"one": lora})
    for model in (mixed, mixed.base):
        with refused(model, "nothing is attached"):
            METHODS["lora"].merge(model)


@pytest.mark.parametrize("name", MERGEABLE)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_merged(gpt, name, value):
    adapted = randomize(attach(gpt, name))
    next(iter(trainable_state_dict(adapted).values())).view(-1)[0] = value
    with refused(adapted, "merge: .* not finite"):
        merge(adapted)


def test_merge_that_overflows_in_16_bits_is_refused(gpt):
    adapted = randomize(attach(gpt.half(), "lora"))
    for tensor in trainable_state_dict(adapted).values():
        tensor.fill_(300.0)  # products beyond 65,504
    with refused(adapted, "merge: .* not finite"):
        merge(adapted)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in MERGEABLE])
def test_what_cannot_be_merged_says_so(gpt, name):
    adapted = attach(gpt, name)
    assert METHODS[name].merge(adapted) is None
    with refused(adapted, f"{name!r} cannot be folded"):
        merge(adapted)


# ---- on, off, and on again --------------------------------------------------------------------------------------------


@every_method
@every_precision
def test_attached_detached_and_attached_again_it_is_the_same_to_the_bit(gpt, name, dtype):
    gpt.to(dtype)
    names, before = list(gpt.state_dict()), logits_of(gpt)
    torch.manual_seed(1)
    first = logits_of(attach(copy.deepcopy(gpt), name, **UNUSUAL[name]))
    model = gpt
    for other in ADDS:  # every method on and off in turn
        model = detach(randomize(attach(model, other)))
        assert not hasattr(model, "adaptation")
        assert list(model.state_dict()) == names and model is gpt
    assert torch.equal(logits_of(model), before)
    torch.manual_seed(1)
    assert torch.equal(logits_of(attach(model, name, **UNUSUAL[name])), first)


@pytest.mark.parametrize("name", ADDS)
def test_record_holds_the_fingerprint_of_the_base(gpt, name):
    base = fingerprint(base_weights(gpt))
    adapted = attach(gpt, name)
    assert adapted.adaptation == Adaptation(name, METHODS[name].settings(), base)
    assert fingerprint(base_weights(adapted)) == base
    assert trained(randomize(adapted)).adaptation == adapted.adaptation


# ---- precision --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ADDS)
@half
def test_beside_a_base_of_16_bits_the_added_weights_have_32_and_the_logits_16(gpt, task, name, dtype):
    adapted = attach(gpt.to(dtype), name)
    before = {key: weight.clone() for key, weight in base_weights(adapted).items()}
    assert {weight.dtype for weight in trainable_state_dict(adapted).values()} == {torch.float32}
    assert logits_of(adapted).dtype == dtype
    history = train(adapted, task, 10, METHODS[name].learning_rate, batch_size=4, progress=False)
    assert torch.tensor(history.losses).isfinite().all()
    assert all(weight.isfinite().all() for weight in trainable_state_dict(adapted).values())
    after = base_weights(adapted)
    assert all(after[key].dtype == dtype and torch.equal(after[key], weight) for key, weight in before.items())


@pytest.mark.parametrize("name", ADDS)
@half
def test_it_moves_as_far_beside_16_bits_as_beside_32(gpt, task, name, dtype):
    """The same steps from the same start: what is lost in 16 bits is a little precision, never the steps themselves."""
    moves = []
    for precision in (dtype, torch.float32):
        base = copy.deepcopy(gpt).to(dtype).to(precision)  # in both the weights of 16 bits
        torch.manual_seed(1)
        adapted = attach(base, name)
        start = {key: weight.clone() for key, weight in trainable_state_dict(adapted).items()}
        train(adapted, task, 20, 1e-4, batch_size=4, progress=False)  # steps far below a unit of 16 bits
        moves.append(torch.cat([(w - start[key]).flatten() for key, w in trainable_state_dict(adapted).items()]))
    short, full = moves
    assert 0.8 < short.norm() / full.norm() < 1.25
    assert F.cosine_similarity(short, full, dim=0) > 0.8


@half
def test_full_fine_tuning_of_16_bits_is_refused_with_the_reason(gpt, task, dtype):
    adapted = attach(gpt.to(dtype), "full")
    with refused(adapted, r"AdamW's small steps"):
        train(adapted, task, 1, 1e-3, progress=False)


@pytest.mark.parametrize("matrix", MATRICES)
@every_precision
@pytest.mark.parametrize("rows", ["one", "all"])
def test_dora_on_rows_of_zeros_is_right(gpt, matrix, dtype, rows):
    gpt.to(dtype)
    [linear] = [module for name, module in gpt.blocks[0].named_modules() if name.endswith(matrix)]
    with torch.no_grad():
        linear.weight[: 1 if rows == "one" else None] = 0
    before = logits_of(gpt)
    adapted = attach(gpt, "dora")
    tolerance = {torch.float32: 1e-6, torch.float64: 1e-12, torch.float16: 0.01, torch.bfloat16: 0.05}[dtype]
    assert_close(logits_of(adapted), before, atol=tolerance * before.abs().max().item(), rtol=0)
    adapted(tokens()).float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in adapted.parameters() if p.requires_grad)
    [layer] = [module for name, module in adapted.blocks[0].named_modules() if name.endswith(matrix)]
    assert isinstance(layer, DoRALinear) and layer.magnitude.grad[0] == 0 and layer.lora_B.grad[0].abs().max() == 0
    randomize(adapted)
    assert logits_of(adapted).isfinite().all()
    if dtype in (torch.float32, torch.float64):
        assert_close(logits_of(merge(adapted)), logits_of(adapted), atol=1e-4, rtol=1e-4)


@half
def test_dora_measures_the_length_of_a_small_row_in_32_bits(dtype):
    linear = nn.Linear(4, 2, bias=False).to(dtype)
    with torch.no_grad():
        linear.weight.fill_(2e-7)  # whose square is zero in float16
    layer = DoRALinear(linear, rank=2, alpha=8.0)
    assert_close(layer.magnitude.detach(), linear.weight[:, 0].detach().float() * 2, atol=0, rtol=1e-6)


# ---- gradient checkpointing -------------------------------------------------------------------------------------------


class Checkpointed(nn.Module):
    """A block that keeps its input alone and runs again in the backward pass."""

    def __init__(self, block, use_reentrant):
        super().__init__()
        self.block, self.use_reentrant = block, use_reentrant
        for part in ("ln_1", "attn", "ln_2", "mlp"):  # prefixes go through a block by its parts
            setattr(self, part, getattr(block, part))

    def forward(self, x):
        return checkpoint(self.block, x, use_reentrant=self.use_reentrant)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@every_method
@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("how", ["wrapped", "patched"])
def test_gradients_under_checkpointing_are_right_or_refused(gpt, task, name, use_reentrant, how):
    def checkpointed(model):
        for i, block in enumerate(list(model.blocks)):
            if how == "wrapped":
                model.blocks[i] = Checkpointed(block, use_reentrant)
            else:
                run = block.forward
                block.forward = lambda x, run=run: checkpoint(run, x, use_reentrant=use_reentrant)

    def gradients(adapted):
        loss = adapted(tokens()).square().mean()
        if loss.requires_grad:
            loss.backward()
        return [p.grad for p in adapted.parameters() if p.requires_grad]

    plain = attach(copy.deepcopy(gpt), name)
    adapted = attach(gpt, name)
    plain.load_state_dict(randomize(adapted).state_dict())
    wanted = gradients(plain)
    checkpointed(gpt)
    try:
        found = gradients(adapted)
    except ValueError as error:
        assert name == "intrinsic" and "checkpointing" in str(error)
        return
    if any(grad is None for grad in found):
        assert use_reentrant
        with pytest.raises(ValueError, match="use_reentrant=False"):
            train(adapted, task, 1, 1e-3, progress=False)
        return
    for ours, theirs in zip(found, wanted, strict=True):
        assert_close(ours, theirs, atol=1e-5 * theirs.abs().max().item() + 1e-7, rtol=1e-5)


def test_only_reentrant_checkpointing_and_the_subspace_are_refused(gpt):
    """Else the test before would pass where everything is refused."""
    for name in ("lora", "dora", "ia3", "adapter"):
        model = copy.deepcopy(gpt)
        adapted = attach(model, name)
        model.blocks[0] = Checkpointed(model.blocks[0], use_reentrant=False)
        adapted(tokens()).square().mean().backward()
        assert all(p.grad is not None for p in adapted.parameters() if p.requires_grad)


# ---- any module with linear layers ------------------------------------------------------------------------------------


class Net(nn.Module):
    """Somebody's own model: it has an embedding, linear layers with and without bias, and a part called `base`."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 6)
        self.base = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 6, bias=False))
        self.wide, self.narrow = nn.Linear(6, 9, bias=False), nn.Linear(9, 4)

    def forward(self, idx):
        return self.narrow(torch.tanh(self.wide(self.base(self.table(idx)))))


ON_NET = {
    "lora": {"rank": 3, "alpha": 5.0, "target_modules": ("wide", "narrow", "2")},
    "dora": {"rank": 3, "alpha": 5.0, "target_modules": ("wide", "0", "narrow")},
    "ia3": {"target_modules": ("wide", "narrow", "0"), "feedforward_modules": ("narrow",)},
    "adapter": {"bottleneck": 3, "target_modules": ("base", "narrow")},
}


@pytest.fixture
def net():
    return Net()


@pytest.mark.parametrize("name", ON_NET)
@every_precision
def test_matrix_methods_serve_any_module_with_linear_layers(net, file, name, dtype):
    net.to(dtype)
    base, before, parts = copy.deepcopy(net), logits_of(net), dict(net.named_modules())
    adapted = attach(net, name, **ON_NET[name])
    exact = {"atol": 1e-6, "rtol": 1e-6} if dtype in (torch.float32, torch.float64) else {"atol": 0.01, "rtol": 0.05}
    assert_close(logits_of(adapted), before, **exact)
    assert count(base, name, **ON_NET[name]) == count_parameters(adapted, trainable_only=True)
    randomize(adapted)
    after = logits_of(adapted)
    assert not torch.allclose(after, before, atol=0.02)
    save_adapter(adapted, file)
    assert torch.equal(logits_of(load_adapter(copy.deepcopy(base), file)), after)
    if METHODS[name].mergeable:
        merged = merge(adapted)
        assert [(key, p.shape) for key, p in merged.named_parameters()] == [
            (key, p.shape) for key, p in base.named_parameters()
        ]
        assert_close(logits_of(merged), after, **({"atol": 1e-5, "rtol": 1e-5} if exact["atol"] < 1e-5 else exact))
    assert dict(detach(adapted).named_modules()) == parts
    assert torch.equal(logits_of(net), before)


@pytest.mark.parametrize("name", ON_NET)
@pytest.mark.parametrize("targets", [("table",), ("wide", "nope"), ("1",), ()], ids=str)
def test_target_that_is_no_linear_layer_is_refused_with_what_there_is(net, name, targets):
    message = "there are: .*wide, narrow" if targets else "target_modules must be a list"
    extra = {"feedforward_modules": ()} if name == "ia3" else {}
    with refused(net, message):
        attach(net, name, target_modules=targets, **extra)


@pytest.mark.parametrize("name", [name for name in ADDS if name not in ON_NET])
def test_what_serves_the_gpt_alone_says_so(net, name):
    with refused(net, rf"{name} serves the course's GPT alone, and this is a Net"):
        attach(net, name)


def test_full_serves_any_module(net, file):
    base = copy.deepcopy(net)
    adapted = randomize(attach(net, "full"))
    save_adapter(adapted, file)
    assert torch.equal(logits_of(load_adapter(base, file)), logits_of(adapted))


@pytest.mark.parametrize("name", ON_NET)
def test_second_method_on_a_net_is_refused(net, name):
    adapted = attach(net, name, **ON_NET[name])
    with refused(adapted, "attached already"):
        attach(adapted, "lora", target_modules=("wide",))


# ---- (IA)^3's places --------------------------------------------------------------------------------------------------


def test_knobs_before_the_matrix_are_those_behind_the_activation(gpt):
    """As the paper has it: the same logits from a knob on what the activation puts out."""
    by_hand = copy.deepcopy(gpt)
    adapted = randomize(attach(gpt, "ia3"))
    for block, ours in zip(by_hand.blocks, adapted.blocks, strict=True):
        block.mlp.act = Scaled(block.mlp.act, ours.mlp.down_proj.scale.detach().clone())
        for name in ("k_proj", "v_proj"):
            setattr(
                block.attn, name, Scaled(getattr(block.attn, name), getattr(ours.attn, name).scale.detach().clone())
            )
    assert torch.equal(logits_of(by_hand), logits_of(adapted))


def test_knobs_of_a_square_matrix_are_on_the_side_that_was_asked_for(gpt):
    """Where input and output are as wide, the shapes cannot tell; neither can a file, which is written and read alike."""
    idx = torch.randn(2, 3, gpt.config.n_embd)
    for reads in ((), ("q_proj",)):
        model = copy.deepcopy(gpt)
        layer = (
            randomize(attach(model, "ia3", target_modules=("q_proj",), feedforward_modules=reads)).blocks[1].attn.q_proj
        )
        scale, plain = layer.scale.detach(), gpt.blocks[1].attn.q_proj
        wanted = plain(idx * scale) if reads else plain(idx) * scale
        for found in (layer, merge(model).blocks[1].attn.q_proj):
            assert_close(found(idx), wanted, atol=1e-6, rtol=1e-6)


# ---- the front door ---------------------------------------------------------------------------------------------------


def test_unknown_method_is_refused_with_those_there_are(gpt):
    for call in (lambda: attach(gpt, "qlora"), lambda: count(gpt.config, "qlora")):
        with refused(gpt, "no method 'qlora'; there are: full, adapter"):
            call()


@every_method
def test_count_is_the_same_by_formula_and_by_attaching_to_a_copy(gpt, name):
    with refused_nothing(gpt):
        assert count(gpt, name, **UNUSUAL[name]) == count(gpt.config, name, **UNUSUAL[name])


@contextmanager
def refused_nothing(model):
    """Check that a call changes nothing."""
    modules, trains = dict(model.named_modules()), {name: p.requires_grad for name, p in model.named_parameters()}
    yield
    assert dict(model.named_modules()) == modules
    assert {name: p.requires_grad for name, p in model.named_parameters()} == trains


def test_method_of_ones_own_is_saved_and_loaded_by_its_name(gpt, file, monkeypatch):
    lora = METHODS["lora"]
    monkeypatch.setitem(METHODS, "mine", Method("mine", lora.build, lora.formula, 1e-2, lora.fold))
    base = copy.deepcopy(gpt)
    adapted = randomize(attach(gpt, "mine", rank=2))
    save_adapter(adapted, file)
    again = load_adapter(base, file)
    assert torch.equal(logits_of(again), logits_of(adapted))
    assert_close(logits_of(merge(again)), logits_of(adapted), atol=1e-5, rtol=1e-5)
