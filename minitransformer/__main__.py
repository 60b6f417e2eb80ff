"""A tiny GPT, and every fine-tuning method: compare them, search their rates, check your exercises."""

import argparse
import json
import os
import shlex
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from minitransformer import __version__

COURSE = Path(__file__).parents[1]  # the repository, where this is a clone of it and no installed copy

# Each function below adds the arguments of one command and returns what carries it out. What needs PyTorch is imported
# inside, because it takes a second and the help of all commands needs none of it.

Carry = Callable[[Namespace], int | None]  # the exit code, where it is not always 0


def compare_command(parser: ArgumentParser) -> Carry:
    """fine-tune with every method and compare"""
    from minitransformer.tasks import LADDER

    add_runs(parser)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each method on each task (default 1)")
    parser.add_argument(
        "--corpus", metavar="FILE", help="adapt the docs base to this text instead of the ladder's tasks"
    )
    parser.add_argument("--again", action="store_true", help="repeat what is finished in the folder already")
    add_out(parser)

    def carry_out(options: Namespace) -> None:
        from minitransformer.course.plots import accuracy_over_parameters, save
        from minitransformer.experiments.compare import among_recorded, compare, show

        corpus = ["corpus"] if options.corpus else []
        rows = compare(
            [*options.tasks, *corpus] if options.tasks else corpus or list(LADDER),
            methods(options),
            options.seeds,
            options.out,
            options.device,
            options.base,
            options.corpus,
            jobs(options),
            options.again,
        )
        shown = among_recorded(rows) if options.method else rows
        save(accuracy_over_parameters(shown), options.out / "compare.png")
        print(f"written to {options.out}: compare.csv with every measurement, compare.png")
        show(shown)
        if options.method:
            print("new methods at their own rate, the recorded ones at the best rate for the budget (see search)")

    return carry_out


def search_command(parser: ArgumentParser) -> Carry:
    """search the best learning rate of each method for each budget of each task"""
    from minitransformer.tasks import LADDER

    add_runs(parser)
    add_scheduler(parser)
    parser.add_argument("--seeds", type=int, default=2, help="runs of each method at its best rates (default 2)")
    parser.add_argument("--times", type=int, default=1, help="length of a run, in budgets of the task (default 1)")
    add_out(parser)

    def carry_out(options: Namespace) -> None:
        from minitransformer.experiments.studies import conduct, search_study, show

        tasks = options.tasks or list(LADDER)
        study = search_study(tasks, methods(options), options.base, options.seeds, options.times, options.device)
        with executor(options) as (pool, width):
            results = conduct("search", options.out, pool, width, study)
        print(f"written to {options.out}: search.csv, search_rates.csv")
        show(study, results)

    return carry_out


def sweep_command(parser: ArgumentParser) -> Carry:
    """repeat a study that lessons and claims rest on, or go on with one"""
    from minitransformer.experiments.studies import STUDIES

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "studies:\n" + "\n".join(f"  {name:<14} {study.about}" for name, study in STUDIES.items())
    parser.add_argument(
        "name", metavar="NAME", help="of a study, listed below; it runs on the CPU unless --device is given"
    )
    add_own(parser)
    add_machine(parser)
    add_scheduler(parser)
    add_out(parser)

    def carry_out(options: Namespace) -> None:
        from minitransformer.experiments.records import record
        from minitransformer.experiments.studies import conduct, find_study, from_rows, show
        from minitransformer.train import choose_device

        study = replace(find_study(options.name), device=str(choose_device(options.device or "cpu")))
        recorded = {}
        if options.method:  # the study's question, asked of these alone, and shown among the recorded answers
            recorded = from_rows([row for row in record(options.name) if "step" in row])  # over steps, as today
            arms = study.arms
            study = replace(study, arms=[(file, {}) for file in options.method])
        with executor(options) as (pool, width):
            results = conduct(options.name, options.out, pool, width, study)
        print(f"written to {options.out}: {options.name}.csv, {options.name}_rates.csv")
        if options.method:
            study = replace(study, arms=[*arms, *study.arms])
        show(study, {**recorded, **results})

    return carry_out


def verify_command(parser: ArgumentParser) -> Carry:
    """hold a method of your own, one Python file, against all that a method promises"""
    parser.add_argument("file", metavar="FILE", help="that says METHOD = Method(...); or a name, as in lora")
    parser.add_argument("--json", action="store_true", help="print the report for other programs")
    parser.add_argument("--seconds", type=float, default=60, help="that one promise may take (default 60)")

    def carry_out(options: Namespace) -> int:
        from minitransformer.experiments.verify import verify

        report = verify(options.file, options.seconds)
        print(report.as_json() if options.json else report)
        return 0 if report.kept else 1

    return carry_out


def pretrain_command(parser: ArgumentParser) -> Carry:
    """pretrain one of the bases, or go on where it was interrupted"""
    from minitransformer.pretrain import BASES, RECIPES

    parser.add_argument("name", help=f"one of: {', '.join(RECIPES)}")
    parser.add_argument("--out", type=Path, default=BASES, help=f"folder for the base (default: {BASES})")
    add_step(parser)

    def carry_out(options: Namespace) -> None:
        from minitransformer.parallel import processes, this_process
        from minitransformer.pretrain import pretrain

        with processes(options.device) as device:
            card = pretrain(options.name, device, options.out, **step_options(options))
            if this_process()[0] == 0:
                base = options.out / options.name
                print(f"{options.name}: {card['parameters']:,} parameters after {card['steps']} steps")
                print(f"written to {base}.safetensors and {base}.json; use it with --base {base.as_posix()}")

    return carry_out


def finetune_command(parser: ArgumentParser) -> Carry:
    """train one method on one task into a file, or go on where it was interrupted; with torchrun, on many processes"""
    from minitransformer.methods import METHODS

    parser.add_argument("method", metavar="METHOD", help=f"one of: {', '.join(METHODS)}")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings of the method: rank=8")
    parser.add_argument("--task", default="recall", help="what to learn, as in compare (default: recall)")
    parser.add_argument("--corpus", metavar="FILE", help="learn this text instead of a task")
    parser.add_argument("--base", help="adapt this base instead of the task's own: a name, or a path as in bases/tiny")
    parser.add_argument("--steps", type=int, help="default: the task's own budget")
    parser.add_argument("--learning-rate", type=float, help="the peak; default: the method's own")
    parser.add_argument("--batch-size", type=int, help="sequences a step, of all processes; default: the task's own")
    parser.add_argument("--seed", type=int, default=0, help="of all that chance decides (default: 0)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("adapter.safetensors"),
        metavar="FILE",
        help="for load_adapter (default: adapter.safetensors); a record with the losses goes beside it",
    )
    add_step(parser)

    def carry_out(options: Namespace) -> None:
        from minitransformer.experiments.finetune import finetune
        from minitransformer.parallel import processes, this_process

        with processes(options.device) as device:
            record = finetune(
                options.method,
                "corpus" if options.corpus else options.task,
                options.out,
                read_settings(options.set),
                options.corpus,
                options.base,
                options.steps,
                options.learning_rate,
                options.seed,
                device,
                batch_size=options.batch_size,
                **step_options(options),
            )
            if this_process()[0] == 0:
                print(
                    f"{record['task']}: {record['score']:.3f} {record['metric']}, {record['trained']:,} numbers trained"
                )
                print(f"written to {options.out} and {options.out.with_suffix('.json')}")

    return carry_out


def read_settings(words: list[str]) -> dict[str, object]:
    """Settings of a method from words such as rank=8 or target_modules=["q_proj"].

    Raises:
        ValueError: a word is no NAME=VALUE.
    """
    settings: dict[str, object] = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            raise ValueError(f"--set {word}: give NAME=VALUE, the value as in JSON: rank=8") from None
    return settings


def progress_command(parser: ArgumentParser) -> Carry:
    """run the checks of your exercises and show what is done"""
    add_exercises(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write a web page with every task, too")

    def carry_out(options: Namespace) -> None:
        from minitransformer.course.exercises import progress

        progress(options.folder, options.out)

    return carry_out


def hint_command(parser: ArgumentParser) -> Carry:
    """show the next hint of a task, one further with each call"""
    parser.add_argument("task", metavar="TASK", help="as in fuse_qkv, or 06/fuse_qkv")
    add_exercises(parser)

    def carry_out(options: Namespace) -> None:
        from minitransformer.course.exercises import hint

        print(hint(options.task, options.folder))

    return carry_out


def reset_command(parser: ArgumentParser) -> Carry:
    """give one task of your exercises back as it was, the answer open"""
    parser.add_argument("task", metavar="TASK", help="as in fuse_qkv, or 06/fuse_qkv")
    add_exercises(parser)

    def carry_out(options: Namespace) -> None:
        from minitransformer.course.exercises import reset

        kept = reset(options.task, options.folder)
        print(f"{options.task} is open again; your notebook as it was: {kept}")
        print("open it anew in Jupyter: what is still open there would be saved over it")

    return carry_out


def figures_command(parser: ArgumentParser) -> Carry:
    """draw the diagrams of the lessons anew"""
    parser.add_argument("folder", nargs="?", type=Path, help="where they go (default: docs/figures of the course)")

    def carry_out(options: Namespace) -> None:
        from minitransformer.course.diagrams import save_diagrams

        print(f"written to {save_diagrams(options.folder)}")

    return carry_out


def claims_command(parser: ArgumentParser) -> Carry:
    """write CLAIMS.md anew from docs/claims.toml and the lessons' outputs"""

    def carry_out(options: Namespace) -> None:
        from minitransformer.course.claims import write_ledger

        print(f"written to {write_ledger()}")

    return carry_out


def doctor_command(parser: ArgumentParser) -> Carry:
    """is everything here, and in order? what is not, and its remedy"""

    def carry_out(options: Namespace) -> int:
        from minitransformer.doctor import doctor

        return doctor()

    return carry_out


COMMANDS: dict[str, Callable[[ArgumentParser], Carry]] = {
    "compare": compare_command,
    "search": search_command,
    "sweep": sweep_command,
    "verify": verify_command,
    "pretrain": pretrain_command,
    "finetune": finetune_command,
    "progress": progress_command,
    "hint": hint_command,
    "reset": reset_command,
    "figures": figures_command,
    "claims": claims_command,
    "doctor": doctor_command,
}
RESUMED = ("compare", "search", "sweep", "pretrain", "finetune")  # go on where they were interrupted


def add_runs(parser: ArgumentParser) -> None:
    """What commands take that run several methods on several tasks."""
    from minitransformer.experiments.runs import TASK_NAMES
    from minitransformer.methods import METHODS

    names = ", ".join(METHODS)
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help=f"of: {', '.join(TASK_NAMES)}")
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help=f"of: {names} (default: all)")
    add_own(parser)
    parser.add_argument("--base", help="adapt this base instead of the task's own: a name, or a path as in bases/tiny")
    add_machine(parser)


def add_own(parser: ArgumentParser) -> None:
    """Methods of one's own."""
    parser.add_argument(
        "--method", action="append", default=[], metavar="FILE", help="a method of your own, one file (see verify)"
    )


def methods(options: Namespace) -> list[str]:
    """The methods to run: those that are named, and files; all of the course's where none is."""
    from minitransformer.methods import METHODS

    named = [*(options.methods or []), *options.method]
    return named or list(METHODS)


def add_machine(parser: ArgumentParser) -> None:
    """Where to run, and how many runs at a time."""
    parser.add_argument("--device", help="cuda, mps or cpu; default: the best one here")
    parser.add_argument("--jobs", type=int, help="runs at the same time; default: one a CPU core, or one on a GPU")


STEP = {  # options of `train`: where and how a step is computed
    "bf16": "products in bfloat16, weights in 32 bits",
    "gradient_checkpointing": "run each block again in the backward pass, to save memory",
    "torch_compile": "compile the model first",
    "head_on_targets": "run the head where a target counts alone, to save time",
}


def add_step(parser: ArgumentParser) -> None:
    """Where and how a training step is computed."""
    parser.add_argument("--device", help="cuda, mps or cpu; default: the best one here")
    parser.add_argument(
        "--gradient-accumulation-steps", type=int, default=1, metavar="N", help="parts of a batch, one after another"
    )
    for name, meaning in STEP.items():
        parser.add_argument("--" + name.replace("_", "-"), action="store_true", help=meaning)


def step_options(options: Namespace) -> dict[str, object]:
    """The same for `train`."""
    return {name: getattr(options, name) for name in ("gradient_accumulation_steps", *STEP)}


def add_scheduler(parser: ArgumentParser) -> None:
    """Where to run on many machines."""
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="run on the Dask cluster whose scheduler is there, as in tcp://host:8786"
    )


def add_exercises(parser: ArgumentParser) -> None:
    """Where the learner's exercises are."""
    parser.add_argument("folder", nargs="?", type=Path, help="your exercises (default: ./exercises, or the course's)")


def add_out(parser: ArgumentParser) -> None:
    """Where results go."""
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for the results (default: results)")


def jobs(options: Namespace) -> int:
    """Runs at the same time: as many as asked for, or one a CPU core, or one on a GPU."""
    from minitransformer.train import choose_device

    if options.jobs is not None:
        return options.jobs
    return (os.cpu_count() or 1) if choose_device(options.device).type == "cpu" else 1


@contextmanager
def executor(options: Namespace) -> Iterator[tuple[Executor, int]]:
    """Where runs go, and how many at a time: processes here, or a Dask cluster.

    Raises:
        ValueError: Dask is not installed, or no scheduler answers there.
    """
    from minitransformer.experiments.runs import executor_of

    if options.scheduler is None:
        with executor_of(jobs(options)) as pool:
            yield pool, jobs(options)
        return
    try:
        from distributed import Client
    except ImportError:
        raise ValueError('--scheduler needs Dask; install it with: pip install "minitransformer[cluster]"') from None
    try:
        client = Client(options.scheduler, timeout="10s")
    except (OSError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {options.scheduler} ({error})") from None
    with client:
        yield client.get_executor(), max(1, sum(client.nthreads().values()))


# ---- reading the command line and carrying it out ---------------------------------------------------------------------


def what_next(called: str) -> str:
    """A few lines for who calls the program without a command: what to do first, and how."""
    lesson = COURSE / "notebooks" / "00_tiny_transformer.ipynb"
    steps = [
        (f"{called} doctor", "is everything here, and in order?"),
        (f"{called} compare --tasks recall --methods lora prompt", "train two methods on an easy task, half a minute"),
        (f"{called} progress", "which tasks of your exercises are done?"),
        (f"{called} --help", "every command; COMMAND --help says what one takes"),
    ]
    if lesson.exists():
        here = str(lesson.relative_to(Path.cwd()) if lesson.is_relative_to(Path.cwd()) else lesson)
        steps.insert(0, (f"python -m jupyter lab {shlex.quote(here)}", "open the first lesson"))
    lines = [f"  {command}\n      {what}" for command, what in steps]
    return "\n".join(["A tiny GPT, and every way to fine-tune a part of it. What next?\n", *lines])


def parse(arguments: list[str] | None = None) -> Namespace:
    """Read the command line: `command`, its options, and `carry_out`, the function that does it.

    Raises:
        SystemExit: it cannot be read, or asks for help.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    called = "minitransformer" if Path(sys.argv[0]).stem == "minitransformer" else "python -m minitransformer"
    if not arguments:
        print(what_next(called))
        raise SystemExit(0)
    parser = ArgumentParser(prog=called, description=__doc__, epilog=f"`{called}` alone says what to do first.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        if name in arguments:  # only the one that is asked for: its arguments may need PyTorch
            one.set_defaults(carry_out=command(one))
    return parser.parse_args(arguments)


def interrupt(*_: object) -> None:
    """Stop as Ctrl-C does."""
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run a command; an error that the user can mend ends in a message and the exit code 1."""
    signal.signal(signal.SIGTERM, interrupt)  # a kill is a Ctrl-C
    begun = ""  # the command, once it has begun
    try:
        try:
            options = parse(arguments)
            begun = options.command
            code = options.carry_out(options) or 0
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        saved = "; what was finished is saved: run the same command to continue" if begun in RESUMED else ""
        print(f"\ninterrupted{saved}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as in `doctor | head -1`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to print goes nowhere
        return 1
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (BrokenExecutor, MemoryError, RuntimeError) as error:
        if not isinstance(error, BrokenExecutor | MemoryError) and "allocate" not in str(error):
            raise  # PyTorch "tried to allocate" on a GPU, and "can't allocate memory" on a CPU
        print(
            f"error: a run died, perhaps for want of memory ({error}); try fewer --jobs or another --device",
            file=sys.stderr,
        )
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
