"""Does a prompt need a larger base, or one that knows more? Bases made for the question, and a prompt's curve on each.

The smallest base of the course reads on for a while: the same four skills as before, or those and `compose`. Then a prompt of
ten vectors is trained on compose. A seed decides what a base reads, and all that chance decides in the prompt's training.
The bases are not kept. (A base twice as wide, of four skills, is in the study `steps`.)
"""

import argparse
import copy
import json
from pathlib import Path

from minitransformer.checkpoints import load_base
from minitransformer.experiments.evidence import SOLVED, state
from minitransformer.experiments.studies import rate_at
from minitransformer.experiments.tables import read_csv, to_csv
from minitransformer.files import check_writable, write_text
from minitransformer.methods import METHODS
from minitransformer.model import GPT
from minitransformer.pretrain import RECIPES
from minitransformer.surgery import count_parameters
from minitransformer.tasks import LADDER, SKILLS, SkillStreams, skill_accuracies
from minitransformer.train import COSINE, evaluate, measure, setup, train

TASK = LADDER["compose"]
KINDS = {"four skills": SKILLS, "five skills": {**SKILLS, TASK.name: TASK.function}}  # what a base reads
START, READING, READING_RATE = "nano", 1000, 2e-3  # the base, for how many steps it reads on, and its rate
RATES = [rate_at(place) for place in (-3, -2, -1)]  # half a decade apart, around the prompt's own
PLACES = (40, 80, 200, 400, 800, 1200)  # steps of the prompt at which it is measured


def make_base(kind: str, seed: int) -> GPT:
    """Let a base read on, in memory."""
    setup(seed, "cpu")
    base, recipe = load_base(START), RECIPES[START]
    options = {"batch_size": recipe.batch_size, "weight_decay": recipe.weight_decay, "seed": seed, "schedule": COSINE}
    train(base, SkillStreams(KINDS[kind]), READING, READING_RATE, progress=False, **options)
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
    return {
        "base": kind,
        "seed": seed,
        "parameters": count_parameters(base),
        **skill_accuracies(base, 1, seed, KINDS["five skills"]),
    }


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
        for kind in KINDS:
            if any((row["base"], row["seed"]) == (kind, str(seed)) for row in known):
                continue
            base = make_base(kind, seed)
            rows += prompt_rows(kind, base, seed)
            known.append({name: str(value) for name, value in base_row(kind, base, seed).items()})
            write_text(scores, to_csv(rows))
            write_text(bases, to_csv(known))
            print(f"seed {seed}: {kind}")


if __name__ == "__main__":
    main()
