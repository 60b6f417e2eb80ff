import hashlib
import json
import shutil
import statistics

import pytest
import torch

from minitransformer.checkpoints import FOLDER, base_names, load_base, load_card
from minitransformer.surgery import check_plain, count_parameters
from minitransformer.tasks import SKILLS, skill_accuracies

EXAMPLES = "accuracy_by_examples_in_the_prompt"


@pytest.fixture
def folder(tmp_path):
    """A copy of the base `tiny` to do harm to."""
    for file in FOLDER.glob("tiny.*"):
        shutil.copy(file, tmp_path)
    return tmp_path


# ---- what ships -----------------------------------------------------------------------------------------------------


def test_the_default_base_ships():
    assert "tiny" in base_names()


@pytest.mark.parametrize("name", base_names())
def test_every_shipped_base_loads_and_gives_finite_logits(name):
    model = load_base(name)
    config = model.config
    logits = model(torch.randint(config.vocab_size, (2, config.block_size)))
    assert logits.shape == (2, config.block_size, config.vocab_size)
    assert logits.isfinite().all()
    assert logits.std() > 0.5  # a trained model prefers something
    assert not model.training
    assert all(p.requires_grad and p.device.type == "cpu" and p.dtype == torch.float32 for p in model.parameters())
    check_plain(model)


@pytest.mark.parametrize("name", base_names())
def test_every_card_says_what_is_in_the_file_and_how_to_make_it(name):
    card = load_card(name)
    file = FOLDER / f"{name}.safetensors"
    assert card["name"] == name
    assert card["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert card["parameters"] == count_parameters(load_base(name))
    assert 4 * card["parameters"] < file.stat().st_size < 4 * card["parameters"] + 10_000
    assert card["command"] == f"python -m minitransformer pretrain {name}"
    assert {"data", "seed", "steps", "learning_rate", "batch_size", "weight_decay", "torch"} <= card.keys()


def test_all_bases_together_are_small():
    shipped = [file for file in FOLDER.iterdir() if file.suffix in (".safetensors", ".json")]
    assert sum(file.stat().st_size for file in shipped) < 8e6


def test_two_loads_share_no_weights():
    first, second = load_base("tiny"), load_base("tiny")
    torch.nn.init.zeros_(first.lm_head.weight)
    assert second.lm_head.weight.abs().max() > 0


# ---- what the default base can do -----------------------------------------------------------------------------------


def test_loading_does_not_change_what_is_drawn_next():
    before = torch.get_rng_state()
    load_base("tiny")
    assert torch.equal(torch.get_rng_state(), before)


def test_without_an_example_the_base_can_but_guess_the_skill():
    accuracies = load_card("tiny")[EXAMPLES]["0"]
    assert accuracies.keys() == SKILLS.keys()
    assert all(0.05 <= accuracy <= 0.45 for accuracy in accuracies.values())
    assert 0.18 <= statistics.mean(accuracies.values()) <= 0.32


@pytest.mark.parametrize("examples", ["1", "2", "3"])
def test_one_example_tells_the_base_which_skill_is_meant(examples):
    accuracies = load_card("tiny")[EXAMPLES][examples]
    assert accuracies.keys() == SKILLS.keys()
    assert all(accuracy >= 0.95 for accuracy in accuracies.values())


@torch.no_grad()
@pytest.mark.parametrize("examples", [0, 1])
def test_shipped_weights_do_what_the_card_says(examples):
    measured = skill_accuracies(load_base("tiny"), examples)
    assert measured == pytest.approx(load_card("tiny")[EXAMPLES][str(examples)], abs=0.02)


# ---- damage ---------------------------------------------------------------------------------------------------------


def change_card(folder, **changes):
    card = json.loads((folder / "tiny.json").read_text())
    (folder / "tiny.json").write_text(json.dumps({**card, **changes}))


def flip_a_byte(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def test_undamaged_copy_loads(folder):
    assert base_names(folder) == ["tiny"]
    load_base("tiny", folder=folder)


@pytest.mark.parametrize("name", ["huge", "", "TINY", "../pretrained/tiny", "tiny.json"])
def test_unknown_base_is_an_error_that_names_those_that_are_there(folder, name):
    for load in (load_card, load_base):
        with pytest.raises(ValueError, match=rf"there is no base '{name}'; there are: tiny$"):
            load(name, folder=folder)


def test_empty_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="there are: none"):
        load_base("tiny", folder=tmp_path / "nowhere")


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(file.read_bytes()[:50_000]),
        lambda file: file.write_bytes(file.read_bytes() + b"\0"),
        lambda file: flip_a_byte(file, -1000),
        lambda file: flip_a_byte(file, 100),
        lambda file: file.write_text("version https://git-lfs.github.com/spec/v1"),
    ],
    ids=["missing", "empty", "cut at the end", "cut", "longer", "flipped bit", "flipped bit in the head", "pointer"],
)
def test_damaged_weights_are_an_error_that_names_the_file_and_the_remedy(folder, damage):
    file = folder / "tiny.safetensors"
    damage(file)
    with pytest.raises(ValueError, match=rf"{file} is .*damaged.*python -m minitransformer pretrain tiny"):
        load_base("tiny", folder=folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "tiny.json").write_text(""),
        lambda folder: (folder / "tiny.json").write_text((folder / "tiny.json").read_text()[:200]),
        lambda folder: (folder / "tiny.json").write_text("[1, 2]"),
        lambda folder: (folder / "tiny.json").write_bytes(b"\xff\xfe"),
        lambda folder: change_card(folder, config=None),
        lambda folder: change_card(folder, config={"vocab_size": 10}),
        lambda folder: change_card(folder, config={**load_card("tiny")["config"], "n_head": 0}),
        lambda folder: change_card(folder, config={**load_card("tiny")["config"], "n_embd": 32}),
        lambda folder: change_card(folder, config={**load_card("tiny")["config"], "n_layer": 2}),
        lambda folder: change_card(folder, config={**load_card("tiny")["config"], "more": 2}),
        lambda folder: change_card(folder, sha256=None),
        lambda folder: (folder / "tiny.json").write_text(json.dumps({"config": load_card("tiny")["config"]})),
    ],
    ids=[
        "empty",
        "cut",
        "a list",
        "not text",
        "no config",
        "half a config",
        "wrong config",
        "other width",
        "other depth",
        "unknown field",
        "wrong checksum",
        "no checksum",
    ],
)
def test_damaged_card_is_an_error_that_names_the_file_and_the_remedy(folder, damage):
    damage(folder)
    with pytest.raises(
        ValueError, match=r"tiny\.(json|safetensors) is .*damaged.*python -m minitransformer pretrain tiny"
    ):
        load_base("tiny", folder=folder)


def test_remedy_names_a_folder_of_the_repository(folder):
    (folder / "tiny.safetensors").unlink()
    with pytest.raises(ValueError, match="git checkout -- minitransformer/pretrained"):
        load_base("tiny", folder=folder)
