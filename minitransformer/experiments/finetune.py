"""Fine-tune once, into a file: alone or on many processes, to the end or on from where it was interrupted."""

import json
from pathlib import Path

from minitransformer.adapters import attach, method_of, save_adapter
from minitransformer.experiments.runs import base_model, find_task
from minitransformer.files import check_writable, write_text
from minitransformer.parallel import this_process
from minitransformer.surgery import count_parameters
from minitransformer.train import evaluate, setup, train


def finetune(
    method: str,
    task: str,
    out: Path,
    settings: dict[str, object] | None = None,
    corpus: str | None = None,
    base: str | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    device: str | None = None,
    **options: object,
) -> dict:
    """Train a method on a task and write two files: what was trained, and a record with every loss.

    The state of the run stands beside them until it is finished; an interrupted run goes on from there.

    Args:
        method: a name in METHODS.
        task: a name that `compare` knows, or `corpus`.
        out: the file for `load_adapter`; the record gets the same name and the ending .json.
        settings: of the method; the defaults where left out.
        corpus: a text file for the task `corpus`.
        base: adapt this base instead of the task's own.
        steps: None: the task's own budget.
        learning_rate: the peak rate; None: the method's default.
        seed: of the added weights and the batches.
        device: cuda, mps or cpu; None: the best one here.
        options: of `train`, such as `batch_size` and `bf16`.

    Returns:
        The record.

    Raises:
        ValueError: a name or a setting is wrong, the files are there already or cannot be written, or the state is
            damaged or another run's.
    """
    found, wanted = method_of(method), find_task(task, corpus).with_seed(seed)
    state_file, record_file = out.with_suffix(".state"), out.with_suffix(".json")
    if record_file.exists() and not state_file.exists():
        raise ValueError(f"{record_file} is there already; delete it, or choose another --out")
    check_writable(out.parent)
    place = setup(seed, device)  # first the seed, then the weights that are drawn with it
    adapted = attach(base_model(base or wanted.base, place), method, **(settings or {}))
    record = {
        "method": method,
        "settings": adapted.adaptation.settings,
        "task": wanted.name,
        "base": base or wanted.base,
        "seed": seed,
        "steps": wanted.steps if steps is None else steps,
        "learning_rate": found.learning_rate if learning_rate is None else learning_rate,
        "trained": count_parameters(adapted, trainable_only=True),
    }
    history = train(
        adapted, wanted, record["steps"], record["learning_rate"], seed=seed, state_file=state_file, **options
    )
    if this_process()[0] == 0:  # of many processes one writes, and measures
        record |= {"metric": wanted.metric, "score": evaluate(adapted, wanted), "losses": history.losses}
        save_adapter(adapted, out)
        write_text(record_file, json.dumps(record) + "\n")
        state_file.unlink()
    return record
