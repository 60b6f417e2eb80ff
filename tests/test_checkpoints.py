import hashlib
import json
import shutil
import statistics
from pathlib import Path

import pytest
import torch

from minitransformer import checkpoints
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
    assert measured == pytest.approx(load_card("tiny")[EXAMPLES][str(examples)], abs=0.04)  # of other questions


# ---- bases in another folder -----------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", ["huge", "", "TINY", "./TINY", "tiny.pt", "more/../huge.json"])
def test_unknown_base_is_an_error_that_names_those_that_are_there(folder, name):
    (folder / "more").mkdir()
    for load in (load_card, load_base):
        with pytest.raises(
            ValueError, match=rf"there is no base '{Path(name).name.removesuffix('.json')}' in .*; there are: tiny \("
        ):
            load(name, folder=folder)


def test_unknown_base_of_the_course_is_an_error_that_tells_of_paths():
    with pytest.raises(ValueError, match=r"no base 'pt'; there are: .*tiny.*\(.* by their path, as in bases/tiny\)"):
        load_base("pt")


def test_empty_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="there are: none"):
        load_base("tiny", folder=tmp_path / "nowhere")


# ---- a base of one's own --------------------------------------------------------------------------------------------


@pytest.fixture
def other_base(tmp_path, monkeypatch):
    """Another base called `tiny`, narrower, in the folder `pt` of the current folder."""
    (tmp_path / "pt").mkdir()
    for file in FOLDER.glob("nano.*"):
        shutil.copy(file, tmp_path / "pt" / f"tiny{file.suffix}")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "name", ["pt/tiny", "pt/tiny.json", "./pt/tiny.safetensors", Path("pt/tiny"), "pt/../pt/tiny"], ids=str
)
def test_path_of_its_files_names_a_base(other_base, name):
    assert load_base(name).config.n_embd == load_card(name)["config"]["n_embd"] == 32


def test_whole_path_names_a_base_too(other_base, tmp_path):
    assert load_base(str(tmp_path / "pt" / "tiny")).config.n_embd == 32


def test_file_in_the_current_folder_names_a_base(other_base, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path / "pt")
    assert load_base("tiny.safetensors").config.n_embd == load_base("./tiny").config.n_embd == 32
    assert load_base("tiny").config.n_embd == 64  # a bare name is one of the course's own


@pytest.mark.parametrize("folder", ["pt", "./pt", Path("pt")], ids=repr)
def test_folder_is_a_string_or_a_path(other_base, folder):
    assert load_base(folder=folder).config.n_embd == 32
    assert base_names(folder) == ["tiny"]


def test_damage_elsewhere_is_mended_elsewhere(other_base):
    Path("pt/tiny.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"pretrain tiny --out pt`$"):
        load_base("pt/tiny")


@pytest.mark.parametrize("device", ["cuda", "cuda:7", torch.device("cuda"), "mps"], ids=str)
@pytest.mark.skipif("torch.cuda.is_available() or torch.backends.mps.is_available()")
def test_device_that_is_not_there_is_an_error_that_says_what_is(device):
    with pytest.raises(ValueError, match=rf"device '{device}' cannot be used \(.*\); device='cpu' is always there"):
        load_base("nano", device)


@pytest.mark.parametrize("ending", [".json", ".safetensors"])
def test_file_that_may_not_be_read_is_not_called_damaged(folder, monkeypatch, ending):
    """Without file permissions, which do not bind the user root."""
    real = Path.read_bytes

    def read_bytes(file):
        if file.suffix == ending:
            raise PermissionError(13, "Permission denied", str(file))
        return real(file)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(ValueError, match=rf"tiny{ending} cannot be read \(Permission denied\); check who") as raised:
        load_base("tiny", folder=folder)
    assert "damaged" not in str(raised.value)


# ---- damage ---------------------------------------------------------------------------------------------------------


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
    with pytest.raises(
        ValueError, match=rf"{file} is (damaged|missing).*python -m minitransformer pretrain tiny --out {folder}`"
    ):
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


@pytest.mark.parametrize("git", [True, False])
def test_remedy_for_a_shipped_base_depends_on_where_it_came_from(tmp_path, monkeypatch, git):
    shipped = tmp_path / "minitransformer" / "pretrained"
    shipped.mkdir(parents=True)
    shutil.copy(FOLDER / "tiny.json", shipped)
    monkeypatch.setattr(checkpoints, "FOLDER", shipped)
    if git:
        (tmp_path / ".git").mkdir()
    remedy = "git checkout -- minitransformer/pretrained" if git else "install minitransformer anew"
    with pytest.raises(ValueError, match=f"is missing; .*{remedy}"):
        load_base("tiny", folder=shipped)
