"""Does a prompt need a wider base, or one that knows more? Bases made for the question, and a prompt's curve on each.

Three kinds of base: narrow and pretrained on the course's four skills; twice as wide, on the same four; narrow, with
`compose` as a fifth skill. On each a prompt of ten vectors is trained on compose. A seed decides the weights that a base
begins with, what it reads, and all that chance decides in the prompt's training. The bases are not kept.
"""

import argparse
import copy
import json
from dataclasses import replace
from pathlib import Path

from minitransformer.experiments.evidence import SOLVED, state
from minitransformer.experiments.studies import rate_at
from minitransformer.experiments.tables import read_csv, to_csv
from minitransformer.files import check_writable, write_text
from minitransformer.methods import METHODS
from minitransformer.model import GPT
from minitransformer.pretrain import Recipe, skills_recipe
from minitransformer.surgery import count_parameters
from minitransformer.tasks import LADDER, SKILLS, SkillStreams, skill_accuracies
from minitransformer.train import COSINE, evaluate, measure, setup, train

TASK = LADDER["compose"]
FIVE = {**SKILLS, TASK.name: TASK.function}
PRETRAINING = 4000  # steps of every base
RATES = [rate_at(place) for place in (-3, -2, -1)]  # half a decade apart, around the prompt's own
PLACES = (40, 80, 200, 400, 800, 1200)  # steps of the prompt at which it is measured


def recipe(width: int, learning_rate: float, streams: SkillStreams, seed: int) -> Recipe:
    """How a base of this study is made."""
    return replace(skills_recipe(width, PRETRAINING, learning_rate), task=streams, seed=seed)


KINDS = {  # what a base is called in the record -> its width, its rate, what it reads
    "narrow, four skills": (32, 4e-3, SkillStreams()),
    "wide, four skills": (64, 3e-3, SkillStreams()),
    "narrow, five skills": (32, 4e-3, SkillStreams(FIVE)),
}


def make_base(how: Recipe) -> GPT:
    """Pretrain a base as a recipe says, in memory."""
    setup(how.seed, "cpu")
    base = GPT(how.config)
    options = {"batch_size": how.batch_size, "weight_decay": how.weight_decay, "seed": how.seed, "schedule": COSINE}
    train(base, how.task, how.steps, how.learning_rate, progress=False, **options)
    return base


def prompt_rows(kind: str, base: GPT, seed: int) -> list[dict]:
    """A prompt's scores on compose over the steps, at each rate; the columns are those of the studies."""
    method, task, rows = METHODS["prompt"], TASK.with_seed(seed), []
    old = SkillStreams().with_seed(seed)
    for rate in RATES:
        setup(seed, "cpu")
        adapted = method.attach(copy.deepcopy(base))
        history = train(
            adapted, task, PLACES[-1], rate, seed=seed, evaluate_at=PLACES, solved=SOLVED, progress=False,
            measures=lambda model: {**measure(model, task), "kept": evaluate(model, old)},
        )  # fmt: skip
        for i, found in enumerate(history.evaluations):
            rows.append(
                {
                    "task": task.name,
                    "base": kind,
                    "method": method.name,
                    "settings": json.dumps(method.defaults),
                    "trained": count_parameters(adapted, trainable_only=True),
                    "seed": seed,
                    "rate": rate,
                    "steps": PLACES[-1],
                    **found,
                    "finished": state([{**e, "metric": task.metric} for e in history.evaluations[: i + 1]]),
                }
            )
    return rows


def base_row(kind: str, base: GPT, seed: int) -> dict:
    """What a base can do with one solved example in front of a question, compose too."""
    return {"base": kind, "seed": seed, "parameters": count_parameters(base), **skill_accuracies(base, 1, seed, FIVE)}


def main(arguments: list[str] | None = None) -> None:
    """Make every base, train prompts on it, and write knowing.csv and knowing_bases.csv; goes on where it was stopped."""
    parser = argparse.ArgumentParser(prog="python -m minitransformer.experiments.knowing", description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, ... (default 5)")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for the results (default: results)")
    options = parser.parse_args(arguments)
    check_writable(options.out)
    scores, bases = options.out / "knowing.csv", options.out / "knowing_bases.csv"
    known = read_csv(bases) if bases.exists() else []
    rows = read_csv(scores) if scores.exists() else []
    for seed in range(options.seeds):
        for kind, (width, rate, streams) in KINDS.items():
            if any((row["base"], row["seed"]) == (kind, str(seed)) for row in known):
                continue
            base = make_base(recipe(width, rate, streams, seed))
            rows += prompt_rows(kind, base, seed)
            known.append({name: str(value) for name, value in base_row(kind, base, seed).items()})
            write_text(scores, to_csv(rows))
            write_text(bases, to_csv(known))
            print(f"seed {seed}: {kind}")


if __name__ == "__main__":
    main()
