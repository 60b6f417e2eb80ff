"""Adapters that travel: our files in `peft`, and files of `peft` here, on the model of `transformers` that both come from."""

import copy
import json
import re
from pathlib import Path

import pytest
import torch
from parity import as_gpt2
from peft import IA3Config, LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from test_real_gpt2 import their_model as their_gpt2
from test_real_llama import make, randomize
from test_real_llama import tokens as llama_tokens
from torch.testing import assert_close
from transformers import LlamaForCausalLM

import minitransformer as mt
from minitransformer.course.agreement import logits_against
from minitransformer.real import GPT2, export_peft, import_peft, save_hf
from minitransformer.surgery import count_parameters, trainable_state_dict

ROOT = Path(__file__).parents[1]


def tokens():
    return llama_tokens(3, 12)


def llama(folder):
    model = make()
    save_hf(model, folder)
    return model, LlamaForCausalLM.from_pretrained(folder).eval()


def gpt2(folder):
    theirs = their_gpt2("wide")
    theirs.save_pretrained(folder)
    return GPT2.from_pretrained(folder), theirs


def gpt(folder):
    """The course's own, with a head of its own."""
    torch.manual_seed(0)
    model = mt.GPT(mt.GPTConfig(vocab_size=40, block_size=32, n_layer=2, n_head=4, n_embd=16, n_inner=24)).eval()
    for weight in model.parameters():
        with torch.no_grad():
            weight.add_(0.1 * torch.randn_like(weight))
    return model, as_gpt2(model)


BASES = {"llama": llama, "gpt2": gpt2, "gpt": gpt}
every_base = pytest.mark.parametrize("base", BASES)


@pytest.fixture
def pair(base, tmp_path):
    """Our base, and the same in `transformers`."""
    return BASES[base](tmp_path / "base")


def same_logits(ours, theirs, base):
    """The logits of the real tokens, which come last; and they are not the base's."""
    idx = tokens()
    with torch.no_grad():
        expected = theirs(input_ids=idx).logits[:, -idx.size(1) :]
        assert_close(ours(idx), expected, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(expected, base(idx), atol=1e-2)


ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")
OURS = {
    "lora on all": ("lora", {"rank": 3, "alpha": 7.0, "target_modules": ALL}),
    "lora on q and v": ("lora", {"rank": 2, "alpha": 3.0, "target_modules": ("q_proj", "v_proj")}),
    "lora on v and down": ("lora", {"rank": 2, "alpha": 3.0, "target_modules": ("down_proj", "v_proj")}),
    "dora on all": ("dora", {"rank": 3, "alpha": 7.0, "target_modules": ALL}),
    "dora on k and up": ("dora", {"rank": 2, "alpha": 5.0, "target_modules": ("k_proj", "up_proj")}),
    "ia3": ("ia3", {}),
    "ia3 elsewhere": (
        "ia3",
        {
            "target_modules": ("q_proj", "o_proj", "up_proj", "down_proj"),
            "feedforward_modules": ("o_proj", "down_proj"),
        },
    ),
    "prompt": ("prompt", {"num_virtual_tokens": 4}),
    "prefix": ("prefix", {"num_virtual_tokens": 4}),
    "prefix from an MLP": ("prefix", {"num_virtual_tokens": 3, "projection_dim": 6}),
}


@every_base
@pytest.mark.parametrize("case", OURS)
def test_our_file_gives_our_logits_in_peft_and_comes_back(pair, case, tmp_path):
    name, settings = OURS[case]
    ours, theirs = pair
    base = copy.deepcopy(ours)
    adapted = randomize(mt.attach(ours, name, **settings)).eval()
    export_peft(adapted, tmp_path / "adapter", base_name="the/base")
    same_logits(adapted, PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval(), base)
    again = import_peft(copy.deepcopy(base), tmp_path / "adapter")
    with torch.no_grad():
        assert_close(again(tokens()), adapted(tokens()), atol=1e-5, rtol=1e-5)
    assert again.adaptation.method == name
    if settings.get("projection_dim") is None:  # what an MLP has made comes back without it
        expected = mt.METHODS[name].settings(**settings)
        found = {k: sorted(v) if isinstance(v, tuple) else v for k, v in again.adaptation.settings.items()}
        assert found == {k: sorted(v) if isinstance(v, tuple) else v for k, v in expected.items()}
        assert trainable_state_dict(again).keys() == trainable_state_dict(adapted).keys()


@pytest.mark.parametrize("base", ["gpt2"])
def test_fused_lora_has_the_rank_of_its_parts_together(pair, tmp_path):
    ours, _ = pair
    export_peft(randomize(mt.attach(ours, "lora", **OURS["lora on all"][1])), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["r"], config["rank_pattern"], config["alpha_pattern"]) == (
        3,
        {"attn.c_attn": 9},
        {"attn.c_attn": 21.0},
    )


LLAMA_ALL = [*ALL, "gate_proj"]
GPT2_ALL = ["c_attn", "c_proj", "c_fc"]
THEIRS = {  # what `peft` trains -> our method
    "lora": (lambda all: LoraConfig(r=3, lora_alpha=7, target_modules=all), "lora"),
    "rslora": (lambda all: LoraConfig(r=4, lora_alpha=7, target_modules=all, use_rslora=True), "lora"),
    "lora of many ranks": (
        lambda all: LoraConfig(
            r=2, lora_alpha=5, target_modules=all,
            rank_pattern={all[0]: 4, all[-1]: 1}, alpha_pattern={all[0]: 3, all[1]: 11},
        ),
        "lora",
    ),
    "dora": (lambda all: LoraConfig(r=3, lora_alpha=7, target_modules=all, use_dora=True), "dora"),
    "dora with rslora": (
        lambda all: LoraConfig(r=3, lora_alpha=7, target_modules=all, use_dora=True, use_rslora=True),
        "dora",
    ),
    "ia3": (lambda all: IA3Config(task_type="CAUSAL_LM"), "ia3"),
    "ia3 on what all three read": (
        lambda all: IA3Config(target_modules=all[:1], feedforward_modules=all[:1]),
        "ia3",
    ),
    "prompt": (lambda all: PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), "prompt"),
    "prefix": (lambda all: PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), "prefix"),
    "prefix from an MLP": (
        lambda all: PrefixTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=6
        ),
        "prefix",
    ),
}  # fmt: skip


def peft_model(theirs, case):
    """What `peft` puts on their model, with random weights."""
    config = THEIRS[case][0](LLAMA_ALL if isinstance(theirs, LlamaForCausalLM) else GPT2_ALL)
    return randomize(get_peft_model(theirs, config)).eval()


@pytest.mark.parametrize("base", ["llama", "gpt2"])
@pytest.mark.parametrize("case", THEIRS)
@pytest.mark.filterwarnings("ignore")
def test_file_of_peft_gives_its_logits_here_and_goes_back(pair, case, tmp_path):
    ours, theirs = pair
    base, their_base = copy.deepcopy(ours), copy.deepcopy(theirs)
    wrapped = peft_model(theirs, case)
    wrapped.save_pretrained(tmp_path / "adapter")
    adapted = import_peft(ours, tmp_path / "adapter")
    assert adapted.adaptation.method == THEIRS[case][1]
    same_logits(adapted, wrapped, base)
    mt.train(adapted, (tokens(), tokens()), steps=1, learning_rate=1e-3, batch_size=3, progress=False)
    if case == "ia3 on what all three read":  # q, k and v have knobs of their own now
        return
    export_peft(adapted, tmp_path / "again")
    same_logits(adapted, PeftModel.from_pretrained(their_base, tmp_path / "again").eval(), base)


@pytest.mark.parametrize("base", ["llama"])
def test_as_many_numbers_train_as_in_peft(pair, tmp_path):
    ours, theirs = pair
    wrapped = peft_model(theirs, "dora")
    wrapped.save_pretrained(tmp_path)
    assert count_parameters(import_peft(ours, tmp_path), True) == wrapped.get_nb_trainable_parameters()[0]


# ---- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["full", "adapter", "lst", "mam", "intrinsic"])
def test_method_that_peft_does_not_have_is_refused_by_name(name, tmp_path):
    settings = {"lst": {"reduction_factor": 2}}.get(name, {})
    with pytest.raises(ValueError, match=f"peft has nothing that is our '{name}'"):
        export_peft(mt.attach(make(), name, **settings), tmp_path)
    assert not list(tmp_path.iterdir())


def test_knobs_on_what_q_alone_reads_cannot_be_said_of_a_fused_matrix(tmp_path):
    model, _ = gpt(tmp_path / "base")
    adapted = mt.attach(model, "ia3", target_modules=("q_proj",), feedforward_modules=("q_proj",))
    with pytest.raises(ValueError, match=r"feedforward_modules=\('q_proj',\)"):
        export_peft(adapted, tmp_path / "adapter")


CHANGED = {
    "biases": ({"bias": "lora_only"}, "bias='lora_only'"),
    "modules to save": ({"modules_to_save": ["lm_head"]}, r"modules_to_save=\['lm_head'\]"),
    "a bias of B": ({"lora_bias": True}, "lora_bias=True"),
    "some layers": ({"layers_to_transform": [0]}, r"layers_to_transform=\[0\]"),
    "layers twice": ({"layer_replication": [[0, 2]]}, "layer_replication="),
    "a setting of tomorrow": ({"use_something_new": 3}, "use_something_new=3"),
    "a start that changed the base": ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
    "other method": ({"peft_type": "LOHA"}, "peft_type='LOHA'"),
    "no method": ({"peft_type": None}, "peft_type=None"),
    "other rank": ({"r": 7}, "has rank 2, but the config says 7"),
    "dora without magnitudes": ({"use_dora": True}, "is incomplete"),
}


@pytest.fixture
def adapter(tmp_path):
    export_peft(randomize(mt.attach(make(), "lora", rank=2, target_modules=("q_proj", "v_proj"))), tmp_path)
    return tmp_path


def refused(directory, message):
    """The error, and that the model stays as it was."""
    model, before = make(), make()
    with pytest.raises(ValueError, match=message):
        import_peft(model, directory)
    assert dict(model.named_parameters()).keys() == dict(before.named_parameters()).keys()
    assert all(p.requires_grad for p in model.parameters())
    assert torch.equal(model(tokens()), before(tokens()))


@pytest.mark.parametrize("case", CHANGED)
def test_setting_that_is_not_known_is_refused_by_name(adapter, case):
    new, message = CHANGED[case]
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **new}))
    refused(adapter, message)


def change(weights, how):
    first = next(iter(weights))
    if how == "a tensor missing":
        del weights[first]
    if how == "a layer missing":
        return {name: w for name, w in weights.items() if ".layers.1." not in name}
    if how == "a name not known":
        weights["base_model.model.model.embed_tokens.lora_embedding_A"] = torch.zeros(2, 2)
    if how == "a layer too many":
        weights |= {name.replace(".layers.0.", ".layers.9."): w for name, w in weights.items() if ".layers.0." in name}
    if how == "other width":
        return {name: torch.ones(len(w) + 1, w.size(1)) if "lora_B" in name else w for name, w in weights.items()}
    if how == "not finite":
        weights[first] = torch.full_like(weights[first], torch.inf)
    return weights


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("a tensor missing", "is incomplete"),
        ("a layer missing", "in some layers alone"),
        ("a name not known", "embed_tokens"),
        ("a layer too many", "in some layers alone"),
        ("other width", "base of another shape"),
        ("not finite", "not finite"),
    ],
)
def test_wrong_weights_are_refused(adapter, how, message):
    file = adapter / "adapter_model.safetensors"
    save_file({name: w.contiguous().clone() for name, w in change(load_file(file), how).items()}, file)
    refused(adapter, message)


def test_pickle_of_an_adapter_is_never_opened(adapter):
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    refused(adapter, r"adapter_model.bin is a pickle")
    refused(adapter / "nowhere", "cannot be read")


# ---- lesson 19 --------------------------------------------------------------------------------------------------------


def test_lesson_names_the_versions_that_are_tested():
    lesson = json.loads((ROOT / "notebooks" / "19_ecosystem.ipynb").read_text(encoding="utf-8"))
    tested = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").split()
    named = re.findall(r"(?:transformers|peft)==[\d.]+", "".join(lesson["cells"][0]["source"]))
    assert len(named) == 2 and set(named) <= set(tested)


def test_picture_has_a_point_for_each_pair_of_logits():
    ours, same, other = torch.randn(2, 3), torch.randn(2, 3), torch.randn(2, 3)
    panels = logits_against(ours, {"same": same, "other": other}).axes
    assert [panel.get_title() for panel in panels] == ["same", "other"]
    for panel, theirs in zip(panels, (same, other), strict=True):
        points = panel.lines[-1]
        assert points.get_xdata().tolist() == ours.flatten().tolist()
        assert points.get_ydata().tolist() == theirs.flatten().tolist()
