"""What a method promises of its models when they are taken off, merged, saved, copied, moved, compiled."""

import copy
import pickle
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.utils.checkpoint import checkpoint

from minitransformer.adapters import load_adapter, save_adapter
from minitransformer.experiments.bench import SMALL, Bench, apart, changes, logits_of, state_of, tokens
from minitransformer.experiments.own import explain, find, known
from minitransformer.experiments.promises import Broken, Noted, promise, room_of
from minitransformer.generate import generate
from minitransformer.methods import METHODS
from minitransformer.model import GPT
from minitransformer.surgery import added_modules, detach, trainable_state_dict

NOT_PLAIN = "check_plain(model) is missing: the first line of attach"

# ---- on and off ---------------------------------------------------------------------------------------------------------


@promise("it refuses a model that has a method attached already, and changes nothing")
def second(bench: Bench) -> str:
    """On top of LoRA."""
    model = METHODS["lora"].attach(bench.base())
    before = state_of(model)
    try:
        bench.method.attach(model)
    except ValueError:
        changed = changes(model, before)
        if changed:
            raise Broken(f"it refuses, but {changed} before", "check_plain(model) comes first") from None
        return "a LoRA underneath is refused"
    except Exception as error:
        raise Broken(f"on top of a LoRA it ends in {explain(error)}", NOT_PLAIN) from None
    raise Broken("it attaches itself on top of a LoRA", NOT_PLAIN)


@promise("detached, the base is back to the bit")
def detached(bench: Bench) -> str:
    """Module by module."""
    base = bench.base()
    modules, weights, _ = state_of(base)
    adapted = bench.trained(base)
    weights = state_of(base)[1] if bench.whole else weights
    restored = detach(adapted)
    if restored is not base or dict(restored.named_modules()) != modules:
        raise Broken(
            "detach does not give the base's modules back",
            "what takes a module's place must subclass Attached and hold that module itself, no copy, as `base`",
        )
    if any(not torch.equal(tensor, weights[name]) for name, tensor in restored.named_parameters()):
        raise Broken("detached, weights of the base are others", "keep what is new beside the base, never in it")
    return "the same modules, the same bits"


@promise("merged, it is a plain GPT with the same logits to 1e-5, and the adapted model stays as it is")
def merge(bench: Bench) -> str:
    """In 32, 64 and 16 bits."""
    if not bench.method.mergeable:
        raise Noted("it has no fold: it says that it cannot be merged")
    gaps = []
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12), (torch.bfloat16, 0.1)):
        base = bench.base().to(dtype)
        names = list(base.state_dict())
        adapted = bench.shake(bench.attach(base), std=0.05)
        wanted, before = logits_of(adapted), state_of(adapted)
        merged = bench.method.merge(adapted)
        if changes(adapted, before) or not torch.equal(logits_of(adapted), wanted):
            raise Broken(
                "merging changed the adapted model", "fold works on a copy: touch nothing outside of it", "merge"
            )
        if type(merged) is not GPT or added_modules(merged) or list(merged.state_dict()) != names:
            raise Broken(
                f"merged, it is {type(merged).__name__} with {len(list(merged.modules()))} modules, no plain GPT",
                "put plain layers in the place of all that was attached, and return the base",
                "merge",
            )
        if {parameter.dtype for parameter in merged.parameters()} != {dtype}:
            raise Broken(f"merged, the weights are no longer {dtype}", "cast: .to(self.base.weight.dtype)", "merge")
        gaps.append(apart(logits_of(merged), wanted))
        if gaps[-1] > tolerance:
            raise Broken(
                f"merged, the logits differ by {gaps[-1]:.2g} of the largest ({dtype})",
                "merge computes another formula than forward: the scaling, a transposed factor, the bias, a forgotten layer",
                "merge",
            )
    return f"largest difference of the logits: {gaps[0]:.0e}"


# ---- copied and moved ---------------------------------------------------------------------------------------------------


@promise("a deep copy and a pickled one give the same logits and are apart from it")
def copies(bench: Bench) -> str:
    """Trained on, a copy leaves the original alone."""
    for how, make in (("copy.deepcopy", copy.deepcopy), ("pickle", lambda it: pickle.loads(pickle.dumps(it)))):
        adapted = bench.trained()
        wanted = logits_of(adapted)
        try:
            twin = make(adapted)
        except Exception as error:
            raise Broken(
                f"{how} fails: {explain(error)}",
                "modules hold a lambda, a hook or a local function; write classes at the top of the file",
            ) from None
        if not torch.equal(logits_of(twin), wanted):
            raise Broken(f"after {how} the logits are others", "something is kept outside of parameters and buffers")
        bench.shake(adapted)
        if not torch.equal(logits_of(twin), wanted):
            raise Broken(
                f"a model made by {how} shares numbers with the original",
                "forward reads the original's tensors, by a closure or a list, and not the module's own",
                "forward",
            )
    return "apart, and alike"


@promise("what it adds has the base's precision, but never fewer than 32 bits; the logits have the base's")
def dtypes(bench: Bench) -> str:
    """Beside bases of 64 and 16 bits."""
    for dtype in (torch.float64,) if bench.whole else (torch.float64, torch.bfloat16, torch.float16):
        adapted = bench.attach(bench.base().to(dtype))
        wanted = torch.promote_types(dtype, torch.float32)
        wrong = [(name, w.dtype) for name, w in trainable_state_dict(adapted).items() if w.dtype != wanted]
        if wrong:
            raise Broken(
                f"beside a base of {dtype}, {wrong[0][0]!r} has {wrong[0][1]}, not {wanted}",
                "create it with **beside(base.weight): AdamW's small steps are lost in 16 bits",
            )
        try:
            found = logits_of(adapted).dtype
        except RuntimeError as error:
            raise Broken(
                f"on a base of {dtype} it fails: {explain(error)}",
                "compute in the added weights' precision and come back: f(x.to(self.weight.dtype)).to(x.dtype)",
                "forward",
            ) from None
        if found != dtype:
            raise Broken(
                f"on a base of {dtype} the logits are {found}", "cast what is added back: .to(x.dtype)", "forward"
            )
        bench.steps(adapted, 3)
    return "64 bits beside 64, 32 beside 16"


@promise("gradient checkpointing leaves the gradients as they are, or is refused")
def checkpointing(bench: Bench) -> str:
    """With every block run a second time in the backward pass."""
    found = []
    for wrapped in (False, True):
        base = bench.base()
        adapted = bench.trained(base)
        if wrapped:
            for block in base.blocks:
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        try:
            adapted(tokens()).square().mean().backward()
        except ValueError as error:
            if "checkpointing" in str(error):
                raise Noted("it refuses checkpointing, and says so") from None
            raise
        except RuntimeError as error:  # PyTorch saw that the second run was another than the first
            raise Broken(
                f"under checkpointing the backward pass fails: {explain(error)}",
                "a block computes something else when it runs again: a counter, a cache, random numbers",
                "forward",
            ) from None
        found.append([p.grad for p in adapted.parameters() if p.requires_grad])
    if any(one is None or apart(one, two) > 1e-5 for one, two in zip(*reversed(found), strict=True)):
        raise Broken(
            "under checkpointing the gradients are others",
            "a block computes something else when it runs again: a counter, a cache, weights that are put in and taken out",
            "forward",
        )
    return "the same gradients"


@promise("compiled, it gives the same logits")
def compiled(bench: Bench) -> str:
    """By PyTorch's tracing alone, without the compiler behind it."""
    adapted = bench.trained(bench.base(replace(SMALL, n_layer=1)))
    wanted = logits_of(adapted)
    try:
        found = logits_of(torch.compile(adapted, backend="eager"))
    except Exception as error:
        raise Broken(
            f"torch.compile fails: {explain(error)}", "forward uses Python that cannot be traced", "forward"
        ) from None
    finally:
        torch._dynamo.reset()
    if apart(found, wanted) > 1e-5:
        raise Broken("compiled, the logits are others", "forward depends on something that changes", "forward")
    return "the same logits"


@promise("it generates, beyond the block too")
def generation(bench: Bench) -> str:
    """The newest token is the likeliest one after the `room` tokens before it."""
    adapted = bench.trained()
    room = room_of(adapted)
    text = generate(adapted, tokens(batch=2, length=room - 3), 6)
    if not torch.equal(text[:, -1], logits_of(adapted, text[:, -1 - room : -1])[:, -1].argmax(dim=-1)):
        raise Broken("the tokens generated are not the likeliest ones", "it keeps something between calls", "forward")
    return f"{text.size(1)} tokens in a block of {room}"


# ---- files ------------------------------------------------------------------------------------------------------------

NEW_PROCESS = "import sys; from minitransformer.experiments.travels import answer; answer(*sys.argv[1:])"


@promise("saved and loaded onto a fresh base, it gives the same logits, for other settings too")
def files(bench: Bench) -> str:
    """While another seed decides what is drawn at random."""
    with tempfile.TemporaryDirectory() as folder, known(bench.method):
        file = Path(folder) / "adapter.safetensors"
        for settings in ({}, *bench.others()):
            adapted = bench.trained(**settings)
            save_adapter(adapted, file)
            torch.manual_seed(3)
            if not torch.equal(logits_of(load_adapter(bench.base(), file)), logits_of(adapted)):
                raise Broken(
                    "".join(f"with {name}={value!r}, " for name, value in settings.items())
                    + "a model that comes back from its file gives other logits",
                    "something drawn at random does not train, and so is not in the file: draw it from a seed among the "
                    "settings, with a generator of its own",
                )
        return f"{file.stat().st_size / 1000:.1f} kB"


@promise("a new process loads what this one saved, and gives the same logits")
def process(bench: Bench) -> str:
    """Which knows of the method only what its file says."""
    if bench.source is None:
        raise Noted("only this process knows the method: write it into a file, and verify that")
    with tempfile.TemporaryDirectory() as folder, known(bench.method):
        saved, told = Path(folder) / "adapter.safetensors", Path(folder) / "logits.safetensors"
        adapted = bench.trained()
        save_adapter(adapted, saved)
        command = [sys.executable, "-c", NEW_PROCESS, bench.source, str(saved), str(told)]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace")
        if not told.exists():
            last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
            raise Broken(f"loading fails there: {last}", "the file depends on something that only this process has")
        if apart(load_file(told)["logits"], logits_of(adapted)) > 1e-6:
            raise Broken(
                "the logits there are others",
                "something depends on the process: hash() of a string, the order of a set, the time, a global number",
            )
    return "the same logits"


def answer(source: str, file: str, out: str) -> None:
    """In a new process: load a file, and write the logits that the model gives."""
    method = find(source)
    with known(method):
        adapted = load_adapter(Bench(method).base(), file).eval()
        save_file({"logits": logits_of(adapted)}, out)
