"""Pretraining the bases that ship with the course."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from minitransformer.files import check_writable, sha256, write_safetensors, write_text
from minitransformer.model import GPT, GPTConfig
from minitransformer.parallel import this_process
from minitransformer.surgery import count_parameters
from minitransformer.tasks import CONTEXT, VOCAB_SIZE, SkillStreams, Task, skill_accuracies
from minitransformer.text import CODE, DOCS, TEXT_BLOCK, TEXT_VOCAB_SIZE
from minitransformer.train import COSINE, evaluate, setup, train

BASES = Path("bases")  # in the current folder; the course's own stand beside this file


@dataclass(frozen=True)
class Recipe:
    """How a base is made: its dimensions, its data, and the settings of `train`."""

    config: GPTConfig
    task: Task
    data: str
    steps: int
    learning_rate: float
    batch_size: int
    weight_decay: float = 0.01
    seed: int = 0


def skills_recipe(n_embd: int, steps: int, learning_rate: float) -> Recipe:
    """A base that knows the four skills, n_embd wide."""
    config = GPTConfig(VOCAB_SIZE, block_size=CONTEXT, n_layer=3, n_head=4, n_embd=n_embd)
    data = "streams of solved examples, one of four unnamed skills a stream, cut at random into windows of 64 tokens"
    return Recipe(config, SkillStreams(), data, steps, learning_rate, batch_size=32)


RECIPES: dict[str, Recipe] = {
    "nano": skills_recipe(32, steps=6000, learning_rate=4e-3),
    "tiny": skills_recipe(64, steps=6000, learning_rate=3e-3),
    "small": skills_recipe(128, steps=4000, learning_rate=2e-3),
    "docs": Recipe(
        GPTConfig(TEXT_VOCAB_SIZE, block_size=TEXT_BLOCK, n_layer=4, n_head=4, n_embd=128),
        DOCS,
        "the language reference that comes with Python (pydoc_data.topics), the last tenth held out",
        steps=3000,
        learning_rate=2e-3,
        batch_size=16,
    ),
}


def pretrain(name: str, device: str | None = None, folder: str | Path = BASES, **options: object) -> dict:
    """Pretrain a base and write its weights and its card; continue where an interrupted run was last saved.

    A base that is there already is never replaced.

    Args:
        name: one of RECIPES.
        device: cuda, mps or cpu; None: the best one here.
        folder: where the files go; `load_base("folder/name")` reads them there.
        options: of `train`, such as `bf16`.

    Returns:
        The card; of many processes the first one alone makes it, and the others return an empty one.

    Raises:
        ValueError: the name is unknown, the folder cannot be written or has a base of that name already, or the saved
            state is damaged or another run's.
    """
    if name not in RECIPES:
        raise ValueError(f"there is no recipe for a base {name!r}; there are: {', '.join(RECIPES)}")
    recipe, folder = RECIPES[name], Path(folder)
    state_file, weights_file, card_file = (folder / f"{name}{end}" for end in (".state", ".safetensors", ".json"))
    if card_file.exists() and not state_file.exists():
        raise ValueError(f"{card_file} is there already; delete it to make the base anew, or choose another --out")
    check_writable(folder)
    torch_device = setup(recipe.seed, device)  # first the seed, then the weights that are drawn with it
    model = GPT(recipe.config).to(torch_device)
    history = train(
        model,
        recipe.task,
        recipe.steps,
        recipe.learning_rate,
        recipe.batch_size,
        recipe.weight_decay,
        recipe.seed,
        COSINE,
        state_file=state_file,
        **options,
    )
    if this_process()[0] > 0:
        return {}
    measured = quality(model, name)  # before any file is replaced: weights and card must change together
    write_safetensors(model.state_dict(), weights_file)
    card = {
        "name": name,
        "config": asdict(recipe.config),
        "parameters": count_parameters(model),
        "data": recipe.data,
        "seed": recipe.seed,
        "steps": recipe.steps,
        "learning_rate": recipe.learning_rate,
        "batch_size": recipe.batch_size,
        "weight_decay": recipe.weight_decay,
        "final_loss": round(sum(history.losses[-100:]) / len(history.losses[-100:]), 4),
        "command": f"python -m minitransformer pretrain {name}",
        "torch": torch.__version__.split("+")[0],
        "sha256": sha256(weights_file),
        **measured,
    }
    write_text(card_file, json.dumps(card, indent=2) + "\n")
    state_file.unlink()
    return card


@torch.no_grad()
def quality(model: GPT, name: str) -> dict:
    """What the base can do, for its card."""
    if name == "docs":
        return {"bits_per_character": {task.name: round(evaluate(model, task), 3) for task in (DOCS, CODE)}}
    return {"accuracy_by_examples_in_the_prompt": {n: skill_accuracies(model, n) for n in range(4)}}
