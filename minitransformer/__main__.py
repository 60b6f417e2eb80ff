"""The command line: python -m minitransformer compare | search | sweep | pretrain | progress | figures | claims | doctor."""

import argparse
import os
import platform
import signal
import sys
from concurrent.futures import BrokenExecutor
from pathlib import Path

import torch

from minitransformer.checkpoints import base_names, load_base, remedy
from minitransformer.course.claims import write_ledger
from minitransformer.course.diagrams import save_diagrams
from minitransformer.course.exercises import progress
from minitransformer.course.plots import accuracy_over_parameters, save
from minitransformer.experiments.compare import compare
from minitransformer.experiments.runs import TASK_NAMES
from minitransformer.experiments.search import SWEEPS, search, sweep
from minitransformer.methods import METHODS
from minitransformer.pretrain import RECIPES, pretrain
from minitransformer.surgery import count_parameters
from minitransformer.tasks import LADDER
from minitransformer.train import choose_device


def doctor() -> None:
    """Say what this machine has, and whether every base can be loaded."""
    print(f"Python {platform.python_version()} on {platform.system()}, torch {torch.__version__}")
    print(f"device: {choose_device()} (choose another with --device), {os.cpu_count()} CPU cores")
    if not base_names():
        raise ValueError(f"no base is there; {remedy('tiny')}")
    for name in base_names():
        print(f"base {name}: {count_parameters(load_base(name)):,} parameters, in order")
    print(f"methods: {', '.join(METHODS)}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m minitransformer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    several = argparse.ArgumentParser(add_help=False)
    several.add_argument("--tasks", nargs="+", default=None, metavar="TASK", help=f"of: {', '.join(TASK_NAMES)}")
    several.add_argument("--methods", nargs="+", default=list(METHODS), metavar="METHOD", help="default: every method")
    several.add_argument("--device", help="cuda, mps or cpu; default: the best one here")
    several.add_argument("--base", help="adapt this base instead of the task's own")
    several.add_argument("--jobs", type=int, help="runs at the same time; default: one a CPU core, or one on a GPU")

    one = commands.add_parser("compare", parents=[several], help="fine-tune with every method and compare")
    one.add_argument("--seeds", type=int, default=1, help="runs of each method on each task (default 1)")
    one.add_argument("--corpus", metavar="FILE", help="adapt the docs base to this text instead of the ladder's tasks")
    one.add_argument("--out", type=Path, default=Path("results"), help="folder for the results (default: results)")

    two = commands.add_parser("search", parents=[several], help="try learning rates, each with the same budget")
    two.add_argument("--rates", nargs="+", type=float, help="peak learning rates to try")
    two.add_argument("--seeds", type=int, default=1, help="runs of each rate (default 1)")
    two.add_argument("--out", type=Path, default=Path("results"), help="folder for the results (default: results)")

    four = commands.add_parser("sweep", help="repeat a sweep over settings that a lesson shows")
    four.add_argument("name", help=f"one of: {', '.join(SWEEPS)}")
    four.add_argument("--device", help="cuda, mps or cpu; default: the best one here")
    four.add_argument("--jobs", type=int, help="runs at the same time; default: one a CPU core, or one on a GPU")
    four.add_argument("--out", type=Path, default=Path("results"), help="folder for the results (default: results)")

    three = commands.add_parser("pretrain", help="pretrain one of the bases, or go on where it was interrupted")
    three.add_argument("name", help=f"one of: {', '.join(RECIPES)}")
    three.add_argument("--device", help="cuda, mps or cpu; default: the best one here")
    three.add_argument(
        "--out", type=Path, default=None, help="folder for the base (default: where the course keeps them)"
    )

    commands.add_parser("progress", help="run the checks of your exercises and show what is done")
    commands.add_parser("figures", help="draw the diagrams in docs/figures anew")
    commands.add_parser("claims", help="write CLAIMS.md anew from docs/claims.toml and the lessons' outputs")
    commands.add_parser("doctor", help="check this installation")
    return parser.parse_args(arguments)


def interrupt(*_: object) -> None:
    """Stop as Ctrl-C does."""
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run a command; an error that the user can mend ends in a message and the exit code 1."""
    signal.signal(signal.SIGTERM, interrupt)  # a kill is a Ctrl-C
    options = parse(arguments)
    try:
        if options.command == "doctor":
            doctor()
        elif options.command == "progress":
            progress()
        elif options.command == "figures":
            save_diagrams()
        elif options.command == "claims":
            write_ledger()
        elif options.command == "pretrain":
            folder = {} if options.out is None else {"folder": options.out}
            card = pretrain(options.name, options.device, **folder)
            print(f"{options.name}: {card['parameters']:,} parameters after {card['steps']} steps")
        else:
            jobs = options.jobs
            if jobs is None:
                jobs = (os.cpu_count() or 1) if choose_device(options.device).type == "cpu" else 1
            if options.command == "compare":
                corpus = ["corpus"] if options.corpus else []
                tasks = [*options.tasks, *corpus] if options.tasks else corpus or list(LADDER)
                rows = compare(
                    tasks,
                    options.methods,
                    options.seeds,
                    options.out,
                    options.device,
                    options.base,
                    options.corpus,
                    jobs,
                )
                save(accuracy_over_parameters(rows), options.out / "compare.png")
            elif options.command == "sweep":
                sweep(options.name, options.out, options.device, jobs)
            else:
                tasks = options.tasks or list(LADDER)
                search(
                    tasks,
                    options.methods,
                    options.rates,
                    options.seeds,
                    options.out,
                    options.device,
                    options.base,
                    jobs,
                )
            print(f"written to {options.out}")
    except KeyboardInterrupt:
        print("\ninterrupted; what was finished is saved: run the same command to continue", file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (BrokenExecutor, torch.OutOfMemoryError) as error:
        print(
            f"error: a run died, perhaps for want of memory ({error}); try fewer --jobs or another --device",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
