"""What the checks of the exercises share.

A check runs an answer on several trials, with sizes that a seed draws, in double and in single precision. It gives the
answer copies, looks afterwards whether they have changed, and compares the result with a reference that is computed in
another way. Whatever is wrong is an AssertionError in the course's words. A check reads like this:

    def check_double(trial):
        x = trial.tensor(*trial.sizes(2, 3, 9)).requires_grad_()
        with checks.answering(x=x):
            got = double(x)
        checks.agree(got, x + x, "the result", {"that is x squared": x * x})
        checks.agree_gradients(got, x + x, {"x": x})

    for trial in checks.trials(SEED):
        check_double(trial)

- Reading an answer: `number`, `numbers`, `truths`, `parts`.
- Running it: `trials`, `answering` (nothing changed, errors explained), `forbidden`, `without_autograd`, `by_calculation`;
  `Work`, `Calls`, `saved` (what was done on the way).
- Judging it: `agree`, `agree_gradients`, `parameter`, `random_start`, `random_wiring`, `apart`, `untouched`, `plain`,
  `held` (how many numbers something keeps).
"""

import linecache
import math
import operator
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, TracebackType

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from minitransformer.method import Method
from minitransformer.methods import METHODS
from minitransformer.methods.lst import side_config
from minitransformer.model import GPT, GPTConfig
from minitransformer.surgery import matrix_shape

# Of the largest number. In 64 bits agreement goes farther, but a constant may have 32, as torch.tensor(0.3) has: that is
# right to seven digits, and a right answer. In 32 bits rounding grows through a model.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-4}
NEARLY = 1e-4  # of the largest number: wrong in 64 bits by less than this, it is not another formula

# ---- reading an answer ----------------------------------------------------------------------------------------------


def number(answer: object, whole: bool = True, what: str = "the answer") -> int | float:
    """One number, however it is given: Python's, numpy's or torch's; 3.0 is a whole number.

    Raises:
        AssertionError: it is no number, or not a whole one where one is wanted.
    """
    kind = "a whole number" if whole else "a number"
    if isinstance(answer, list | tuple) and len(answer) == 1:
        answer = answer[0]
    if hasattr(answer, "item") and getattr(answer, "size", None) is not None and _numel(answer) == 1:
        answer = answer.item()
    assert answer is not None, f"{what} is None: did you forget the return?"
    assert not isinstance(answer, bool | str | bytes | complex), f"{what} must be {kind}, not {answer!r}"
    try:
        value = float(answer)
    except (TypeError, ValueError):
        raise AssertionError(f"{what} must be {kind}, not {answer!r}") from None
    assert math.isfinite(value), f"{what} must be {kind}, not {value}"
    if not whole:
        return value
    assert value == round(value), f"{what} must be a whole number, not {answer!r}"
    return operator.index(answer) if hasattr(answer, "__index__") else round(value)


def _numel(array: object) -> int:
    return array.numel() if isinstance(array, Tensor) else int(array.size)


def numbers(answer: object, n: int, whole: bool | Sequence[bool] = True) -> tuple[int | float, ...]:
    """Exactly n numbers, in a tuple, a list, an array or a tensor.

    Args:
        answer: what the student returned.
        n: how many there must be.
        whole: whether they are whole numbers, for all or for each.

    Raises:
        AssertionError: there are more or fewer, or one is no such number.
    """
    found = _sequence(answer, n, "numbers")
    wholes = [whole] * n if isinstance(whole, bool) else whole
    return tuple(number(x, w, f"number {i}") for i, (x, w) in enumerate(zip(found, wholes, strict=True), start=1))


def truths(answer: object, n: int) -> tuple[bool, ...]:
    """Exactly n times true or false, in a tuple, a list, an array or a tensor.

    Raises:
        AssertionError: there are more or fewer, or one is neither.
    """
    found = _sequence(answer, n, "times True or False")
    found = [x.item() if hasattr(x, "item") else x for x in found]
    assert all(isinstance(x, bool) for x in found), f"return {n} times True or False, not {answer!r}"
    return tuple(found)


def parts(answer: object, *names: str) -> tuple:
    """The several things that an answer returns, in a tuple or a list.

    Raises:
        AssertionError: there are more or fewer.
    """
    return tuple(_sequence(answer, len(names), f"things ({', '.join(names)})"))


def _sequence(answer: object, n: int, things: str) -> list:
    assert answer is not None, "the answer is None: did you forget the return?"
    if hasattr(answer, "tolist") and getattr(answer, "ndim", 0) == 1:
        answer = answer.tolist()
    assert isinstance(answer, list | tuple) and len(answer) == n, f"return {n} {things}, not {answer!r}"
    return list(answer)


# ---- what a trial draws ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """One run of a check: what it draws, and in which precision.

    Attributes:
        index: 0, 1, 2, ...
        dtype: torch.float64 or torch.float32.
        random: draws whole numbers; tensors come from PyTorch's own generator, which `trials` has seeded.
    """

    index: int
    dtype: torch.dtype
    random: random.Random

    def size(self, low: int, high: int) -> int:
        """A whole number from low to high."""
        return self.random.randint(low, high)

    def sizes(self, n: int, low: int, high: int) -> list[int]:
        """n whole numbers, no two alike, so that a wrong axis cannot fit."""
        return self.random.sample(range(low, high + 1), n)

    def ratio(self) -> float:
        """A factor that is no whole number, not near 1, no power of two, and has more than two digits."""
        return self.random.choice((0.312, 0.687, 1.734, 2.291, 2.873, 3.346))

    def tensor(self, *shape: int, std: float = 1.0) -> Tensor:
        """Normal numbers of the trial's precision."""
        return std * torch.randn(*shape, dtype=self.dtype)

    def randomise(self, module: nn.Module, std: float = 0.5) -> nn.Module:
        """The same module in the trial's precision, its every number random: biases, norms and zeros too."""
        module.to(self.dtype)
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=std)
        return module

    def config(self, **fixed: int) -> GPTConfig:
        """Dimensions of a small GPT; what is not fixed is drawn, and no two widths are alike."""
        heads = self.size(2, 3)
        drawn = {
            "vocab_size": self.size(17, 23),
            "block_size": self.size(30, 36),
            "n_layer": self.size(2, 4),
            "n_head": heads,
            "n_embd": heads * self.size(2, 4),
            "n_inner": self.random.choice((13, 14, 15, 19)),
        }
        return GPTConfig(**(drawn | fixed))

    def gpt(self, **fixed: int) -> GPT:
        """A small GPT whose every number is random."""
        return self.randomise(GPT(self.config(**fixed)))

    def tokens(self, model: GPT, *shape: int) -> Tensor:
        """Random tokens of the model's vocabulary."""
        return torch.randint(model.config.vocab_size, shape)


def trials(seed: int, n: int = 4) -> Iterator[Trial]:
    """n trials, drawn from a seed: the first, the third, ... in double precision, the others in single."""
    for i in range(n):
        torch.manual_seed(1000 * seed + i)
        yield Trial(i, (torch.float64, torch.float32)[i % 2], random.Random(1000 * seed + i))


# ---- running an answer ----------------------------------------------------------------------------------------------

EXPLAINED = (
    (r"expected .*scalar type|same scalar type|same dtype|did not match|dtype.* but got|expected m1 and m2|mixed dtype",
     "numbers of two precisions meet. Tensors that you make are float32; make them like what was given "
     "(x.new_zeros, torch.zeros_like, or dtype=x.dtype)"),
    (r"leaf Variable that requires grad|a view of a leaf|gradient computation has been modified",
     "something that needs a gradient is changed in place. Compute something new, or, for a weight, use torch.no_grad()"),
    (r"Inference tensors cannot be saved",
     "numbers made under torch.inference_mode() can be on no graph, not even as constants. Use torch.no_grad()"),
    (r"modified inplace|Inplace update to inference|Cannot set version_counter for inference",
     "something that was given is changed in place. Compute something new"),
    (r"shapes? cannot be multiplied|must match the size|size mismatch|is invalid for input of size|expanded size|"
     r"broadcast|equal size|Sizes of tensors must match|shape .* is invalid|inconsistent tensor size|doesn't match|Expected size|"
     r"negative dimension",
     "the shapes do not fit. Sizes are drawn anew for each trial, and the number of dimensions too where the task says "
     "(..., d): read them off what is given"),
    (r"must be a 3D tensor|must be a matrix|only supported on matrices|2D tensors expected|number of subscripts|"
     r"not enough values to unpack|too many values to unpack|Dimension out of range",
     "this expects another number of dimensions, or of things. Where the task says (..., d), any number of them may stand in front"),
    (r"zip\(\) argument", "two things that are walked together are of different lengths"),
    (r"not have been used in the graph|does not require grad|element 0 of tensors",
     "no graph leads there: something is detached, or computed under torch.no_grad()"),
    (r"backward through the graph a second time", "the graph was used up already: compute anew before you go backward again"),
    (r"Cannot assign non-leaf Tensor",
     "an nn.Parameter cannot be the result of a computation: compute under torch.no_grad(), and wrap it in nn.Parameter"),
    (r"'NoneType'", "something is None here. A linear layer may have no bias; and what returns nothing returns None"),
    (r"only Tensors created explicitly by the user", "deepcopy meets a tensor that hangs on a graph: detach it first"),
)  # fmt: skip


def explain(error: Exception) -> str:
    """An error of Python or PyTorch in the course's words, with its own words behind."""
    own = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    for pattern, words in EXPLAINED:
        if re.search(pattern, str(error), flags=re.IGNORECASE):
            return f"{words} ({own})"
    if isinstance(error, IndexError):
        return f"an index lies outside. Sizes are drawn anew for each trial: read them off what is given ({own})"
    if isinstance(error, TypeError) and re.search(r"positional argument|unexpected keyword", str(error)):
        return (
            f"a function is called with other arguments than it takes. Keep the names and the order of the task ({own})"
        )
    return own


def _where(trace: TracebackType | None) -> str:
    """Where in the student's code an error came up: behind the check's own frame, and in no installed file."""
    place, trace = "", trace.tb_next if trace else None
    while trace:
        file = trace.tb_frame.f_code.co_filename
        if "site-packages" not in file and str(Path(__file__).parents[1]) not in file and "/lib/python" not in file:
            line = linecache.getline(file, trace.tb_lineno).strip()
            place = f" in {trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}" + (f": {line}" if line else "")
        trace = trace.tb_next
    return place


@contextmanager
def answering(**given: object) -> Iterator[None]:
    """Call an answer in here. What was given, by name, must stay as it was; errors are explained.

    Whether PyTorch records graphs, and its default precision, must stay too; they are set back if they do not.

    Args:
        given: tensors, modules, and lists or dictionaries of them: all that the answer must not change.

    Raises:
        AssertionError: the answer stopped with an error, or changed something.
        NotImplementedError: it was never written.
    """
    before = {name: _snapshot(thing) for name, thing in given.items()}
    recording, precision = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        yield
    except AssertionError as error:
        if str(error):
            raise
        raise AssertionError(f"your answer stops at its own assert{_where(error.__traceback__)}") from error
    except Exception as error:
        if isinstance(error, NotImplementedError) and "write your answer here" in str(error):
            raise
        stops = f"your answer stops{_where(error.__traceback__)}. {explain(error)}"
        try:  # what was changed in place is often why it stops
            for name, thing in given.items():
                _compare(name, thing, before[name])
        except AssertionError as changed:
            raise AssertionError(f"{changed}. Then {stops}") from error
        raise AssertionError(stops) from error
    finally:
        now = torch.is_grad_enabled(), torch.get_default_dtype()
        torch.set_grad_enabled(recording)
        torch.set_default_dtype(precision)
    assert now[0] == recording, (
        f"the answer leaves autograd switched {'on' if now[0] else 'off'} for all that comes after it: "
        "use `with torch.no_grad():`, which ends by itself"
    )
    assert now[1] == precision, f"the answer sets PyTorch's default precision to {_short(now[1])} and leaves it so"
    for name, thing in given.items():
        _compare(name, thing, before[name])


@dataclass
class _Kept:
    """A thing as it was: itself, its numbers, whether it trains, its gradient, and what it is made of."""

    thing: object
    numbers: Tensor | None = None
    trains: bool = False
    gradient: Tensor | None = None
    inside: dict = field(default_factory=dict)


def _snapshot(thing: object) -> _Kept:
    if isinstance(thing, Tensor):
        gradient = thing.grad.clone() if thing.is_leaf and thing.grad is not None else None
        return _Kept(thing, thing.detach().clone(), thing.requires_grad, gradient)
    return _Kept(thing, inside={key: _snapshot(part) for key, part in _inside(thing).items()})


def _inside(thing: object) -> dict:
    """What a module, a list, a tuple or a dictionary holds, by name."""
    if isinstance(thing, nn.Module):
        kinds = (thing._forward_hooks, thing._forward_pre_hooks, thing._backward_hooks, thing._backward_pre_hooks)
        hooks = {f" hook {key}": hook for kind in kinds for key, hook in kind.items()}
        own = {**thing._parameters, **thing._buffers, **thing._modules}
        own |= {name: part for name, part in vars(thing).items() if name in ("training", "config") or callable(part)}
        return {f".{name}": part for name, part in own.items() if part is not None} | hooks
    if isinstance(thing, dict):
        return {f"[{key!r}]": part for key, part in thing.items()}
    if isinstance(thing, list | tuple):
        return {f"[{i}]": part for i, part in enumerate(thing)}
    return {}


def _compare(name: str, thing: object, kept: _Kept) -> None:
    if isinstance(thing, Tensor):
        like = thing.shape == kept.numbers.shape and thing.dtype == kept.numbers.dtype
        same = like and torch.equal(thing.detach(), kept.numbers)
        assert same, f"{name} was changed in place; it must stay as it is: compute something new, or work on a copy"
        assert thing.requires_grad == kept.trains, (
            f"requires_grad of {name} was {kept.trains} and is {thing.requires_grad} now; leave that as it is"
        )
        gradient = thing.grad if thing.is_leaf else None
        assert (gradient is None) == (kept.gradient is None), f"the gradient of {name} was touched: no backward() here"
        assert gradient is None or torch.equal(gradient, kept.gradient), f"the gradient of {name} was touched"
        return
    now = _inside(thing)
    assert now.keys() == kept.inside.keys(), (
        f"{name} was changed: it holds {len(now)} things now, and held {len(kept.inside)}; work on a copy"
    )
    for key, part in now.items():
        old = kept.inside[key]
        mutable = isinstance(part, Tensor | nn.Module | list | dict)
        assert part is old.thing or (not mutable and part == old.thing), (
            f"{name} was changed: {name}{key} is another thing now; work on a copy"
        )
        _compare(name + key, part, old)


_reasons: list[tuple[str, list]] = []  # of the functions that are forbidden just now


def _refuse() -> None:
    why, used = _reasons[-1]
    used.append(why)
    raise AssertionError(why)


def _stub(*args: object, **kwargs: object) -> None:
    __import__("minitransformer.course.checks", fromlist=["checks"])._refuse()


@contextmanager
def forbidden(why: str, *functions: FunctionType) -> Iterator[None]:
    """In here, calling one of these functions is an error that says why, whatever name it is called by.

    Args:
        why: what is forbidden, and what to do instead.
        functions: of Python, not built in; methods too, as in LoRALinear.forward.

    Raises:
        AssertionError: one was called, even if the answer has caught the error.
    """
    used: list[str] = []
    with ExitStack() as stack:
        _reasons.append((why, used))
        stack.callback(_reasons.pop)
        for function in functions:  # a new code reaches every name that the function has anywhere
            code = function.__code__
            stack.callback(setattr, function, "__code__", code)
            function.__code__ = _stub.__code__.replace(
                co_freevars=code.co_freevars
            )  # as many as before, or Python objects
        yield
    assert not used, why


@contextmanager
def without_autograd(**given: object) -> Iterator[None]:
    """Call an answer in here that must do without autograd; otherwise as `answering`."""
    why = "this task is without autograd: no backward() and no autograd.grad; write the derivative out"
    functions = (torch.autograd.grad, torch.autograd.backward, torch.Tensor.backward, torch.func.grad, torch.func.vjp,
                 torch.func.jacrev, torch.func.jacfwd, torch.func.jvp, torch.func.linearize,
                 torch.autograd.forward_ad.make_dual, torch.autograd.functional.jacobian,
                 torch.autograd.functional.vjp)  # fmt: skip
    with answering(**given), forbidden(why, *functions), torch.inference_mode():
        yield


@contextmanager
def by_calculation(*others: FunctionType) -> Iterator[None]:
    """Call a prediction in here: it must calculate, not build models or ask the library for the number."""
    why = "calculate with pencil and paper: building a model or calling the library would spoil it"
    formulas = {method.formula for method in METHODS.values()} | {matrix_shape, side_config}
    building = nn.Module.__init__, nn.Module.parameters, Method.count, Method.attach
    with answering(), forbidden(why, *building, *formulas, *others):
        yield


PRODUCTS = {"linear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "einsum",
            "tensordot", "inner", "linalg_multi_dot"}  # fmt: skip


class Work(TorchFunctionMode):
    """Counts the matrix products that are done in here, however they are written.

    Args:
        model: counts only the products with its matrices, told by their shapes: those of attention, which may be taken
            all at once or one by one, are not among them. None counts all.

    Attributes:
        products: matrix products; a pass through a GPT takes six matrices a block and one for the head.
        rows: tokens that went through a matrix, each time counted once.
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__()
        matrices = [weight.shape for weight in model.parameters() if weight.dim() == 2] if model else []
        self.shapes = {shape for a, b in matrices for shape in ((a, b), (b, a))} if model else None
        self.products = 0
        self.rows = 0

    def __torch_function__(self, func: object, types: tuple, args: tuple = (), kwargs: dict | None = None) -> object:
        """Let a function run, and count it if it is a product."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name not in PRODUCTS:
            return result
        flat = [part for arg in args for part in (arg if isinstance(arg, list | tuple) else [arg])]
        factors = [part for part in flat if isinstance(part, Tensor) and part.dim() > 1]
        if len(factors) < 2:
            return result
        left, right = factors[-2:]
        if self.shapes is None or tuple(right.shape[-2:]) in self.shapes:
            self.products += 1
            # rows * d numbers come in, rows * k come out, and the matrix has d * k.
            self.rows += math.isqrt(left.numel() * result.numel() // max(1, right.numel()))
        return result


@contextmanager
def saved() -> Iterator[list[tuple[int, ...]]]:
    """The shapes of all that autograd saves for a backward pass in here, whether or not it is needed later."""
    shapes: list[tuple[int, ...]] = []

    def pack(tensor: Tensor) -> Tensor:
        shapes.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield shapes


class Calls(TorchFunctionMode):
    """Remembers which of PyTorch's functions are called, under whatever name."""

    def __init__(self) -> None:
        super().__init__()
        self.functions: list[object] = []

    def __torch_function__(self, func: object, types: tuple, args: tuple = (), kwargs: dict | None = None) -> object:
        """Let a function run, and remember it."""
        self.functions.append(func)
        return func(*args, **(kwargs or {}))


# ---- judging a result -----------------------------------------------------------------------------------------------


def near(got: Tensor, wanted: Tensor) -> bool:
    """Whether two tensors are of one shape and precision and agree up to its rounding."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return False
    if not wanted.is_floating_point():
        return torch.equal(got, wanted)
    if not got.isfinite().all() or not wanted.numel():
        return bool(got.isfinite().all())
    return bool(((got - wanted).abs() <= _rounding(wanted)).all())


def _rounding(wanted: Tensor) -> float:
    """How far numbers may be off; sums that cancel leave rounding of their terms behind, hence the floor."""
    return TOLERANCE.get(wanted.dtype, 2e-4) * max(wanted.abs().max().item(), 0.01)


Slips = Mapping[str, Tensor] | Callable[[], Mapping[str, Tensor]]


def agree(got: object, wanted: Tensor, what: str, slips: Slips | None = None, cause: str = "") -> None:
    """Make sure that a result is a tensor of the right shape, precision and numbers.

    Args:
        got: the result.
        wanted: the reference.
        what: how messages call it.
        slips: results of well-known mistakes, by what the message says of them, or a function that computes them. They
            are looked at only if the result is wrong.
        cause: what is said of a result that no slip explains, behind where it differs.

    Raises:
        AssertionError: it is not; the message names the slip, or what differs, and where.
    """
    assert got is not None, f"{what} is None: did you forget the return?"
    assert isinstance(got, Tensor), f"{what} must be a tensor, not {type(got).__name__}"
    got, wanted = got.detach(), wanted.detach()
    if wanted.is_floating_point() and not wanted.isfinite().all():
        raise ValueError(f"the reference for {what} is not finite: that is the check's fault, not yours")
    assert got.layout == torch.strided, f"{what} must be an ordinary tensor, not a sparse one"
    if near(got, wanted):
        return
    only_precision = got.dtype != wanted.dtype and near(got.float(), wanted.float())
    for says, slip in (slips() if callable(slips) else slips or {}).items():
        if not only_precision and near(got.to(slip.dtype), slip.detach()):
            raise AssertionError(says)
    assert got.shape == wanted.shape, f"{what} is of shape {tuple(got.shape)}; it must be {tuple(wanted.shape)}"
    assert got.dtype == wanted.dtype, (
        f"{what} is {_short(got.dtype)}; it must be {_short(wanted.dtype)}, as what was given: "
        "make new tensors in that precision (new_zeros, zeros_like, dtype=...)"
    )
    assert not got.isnan().any(), f"{what} holds nan, which is no number"
    assert got.isfinite().all(), f"{what} holds an infinite number"
    if got.dtype == torch.bool or not got.is_floating_point():
        wrong = (got != wanted).nonzero()
    else:
        wrong = ((got - wanted).abs() > _rounding(wanted)).nonzero()
    place = tuple(wrong[0].tolist())
    mine, right = show_apart(got[place].item(), wanted[place].item())
    if got.dtype == torch.float64 and (got - wanted).abs().max() < NEARLY * wanted.abs().max():
        cause = NEARLY_RIGHT
    raise AssertionError(
        f"{what} is not right: {len(wrong)} of {got.numel()} numbers differ; "
        f"at {list(place)} it is {mine} and should be {right}" + (f". {cause}" if cause else "")
    )


NEARLY_RIGHT = "That is nearly right: is a small number added somewhere, or something rounded to 32 bits on the way?"


def unrounded(got: Tensor, wanted: Tensor, what: str) -> None:
    """Make sure that a result in 64 bits, known to agree, does so to more digits than 32 bits have.

    For tasks in which no constant occurs that a right answer could have written in 32 bits.

    Raises:
        AssertionError: it does not.
    """
    apart = (got.detach() - wanted.detach()).abs().max() / max(wanted.detach().abs().max().item(), 0.01)
    assert wanted.dtype != torch.float64 or apart < 1e-10, f"{what} is off by {apart:.0e} of its size. {NEARLY_RIGHT}"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def show_apart(mine: float, right: float) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to tell them apart, five at least."""
    if not isinstance(mine, float):
        return str(mine), str(right)
    pairs = [(f"{mine:.{digits}g}", f"{right:.{digits}g}") for digits in range(5, 18)]
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[-1])


def gradients(output: Tensor, leaves: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    """Gradients of a random mixture of the outputs, the same mixture at each call; None where none arrives.

    Raises:
        AssertionError: the output hangs on no graph.
    """
    assert output.requires_grad, "no gradient can flow back from the result: is it detached, or inside torch.no_grad()?"
    mixture = torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).to(output)
    try:
        found = torch.autograd.grad(output, list(leaves.values()), mixture, allow_unused=True, retain_graph=True)
    except RuntimeError as error:
        raise AssertionError(f"the backward pass stops. {explain(error)}") from error
    return dict(zip(leaves, found, strict=True))


def agree_gradients(
    got: Tensor,
    wanted: Tensor,
    leaves: Mapping[str, Tensor],
    wanted_leaves: Mapping[str, Tensor] | None = None,
    slips: Mapping[str, Tensor] | None = None,
) -> None:
    """Make sure that the gradients of a result are those of the reference.

    Args:
        got: the result.
        wanted: the reference.
        leaves: what the result must be derived by, by name.
        wanted_leaves: the same for the reference, where it has tensors of its own.
        slips: other results whose gradients a mistake would give, by what the message says.

    Raises:
        AssertionError: one is missing or wrong, or arrives where none should.
    """
    mine, right = gradients(got, leaves), gradients(wanted, wanted_leaves or leaves)
    for says, slip in (slips or {}).items():
        theirs = gradients(slip, leaves)
        alike = [theirs[n] is not None and mine[n] is not None and near(mine[n], theirs[n]) for n in leaves]
        differ = any(right[n] is not None and theirs[n] is not None and not near(theirs[n], right[n]) for n in leaves)
        assert not (differ and all(alike)), says
    for name, truth in right.items():
        if truth is None:
            assert mine[name] is None or not mine[name].any(), f"a gradient reaches {name}, and none should"
            continue
        assert mine[name] is not None and (mine[name].any() or not truth.any()), (
            f"no gradient reaches {name}: is something detached, or inside torch.no_grad()?"
        )
        cause = "Is a part of the way to it detached, or under torch.no_grad()?"
        agree(mine[name], truth, f"the result is right, but the gradient of {name}", cause=cause)


def parameter(module: nn.Module, name: str, shape: Sequence[int], meaning: str = "") -> Tensor:
    """The trained weight of a module by its name: an nn.Parameter of this shape.

    Args:
        module: the student's.
        name: of the weight, with dots where it stands deeper, as in "query.weight".
        shape: that it must have.
        meaning: the shape in letters, for the message.

    Raises:
        AssertionError: there is none, or it is something else.
    """
    weight = module
    for part in name.split("."):
        weight = getattr(weight, part, None)
    assert weight is not None, f"there is no self.{name}"
    assert not isinstance(weight, nn.Module), (
        f"self.{name} must be the nn.Parameter itself, not a {type(weight).__name__} that holds one"
    )
    assert isinstance(weight, nn.Parameter), (
        f"self.{name} must be an nn.Parameter, not {type(weight).__name__}: only a parameter is found by optimizers, saved and moved"
    )
    assert weight.shape == tuple(shape), (
        f"self.{name} is of shape {tuple(weight.shape)}, not {meaning or tuple(shape)}{f' = {tuple(shape)}' if meaning else ''}"
    )
    assert weight.requires_grad, f"self.{name} does not train: requires_grad is False"
    return weight


def random_start(make: Callable[[], Tensor], what: str, std: float | None = None) -> None:
    """Make sure that a weight starts at random: no zeros, no pattern, other numbers the next time.

    Args:
        make: builds the weight anew.
        what: its name.
        std: the spread that the task asks for, within a factor of two; None: any between 1e-4 and 3.

    Raises:
        AssertionError: it does not.
    """
    first, second = make().detach().double(), make().detach().double()
    assert first.any(), f"{what} starts at zero; it must start at random"
    assert first.numel() < 2 or first.unique().numel() > first.numel() // 2, (
        f"{what} starts with numbers that are alike; it must start at random"
    )
    assert not torch.equal(first, second), f"{what} starts with the same numbers each time; it must start at random"
    spread = torch.cat([first.flatten(), second.flatten()]).square().mean().sqrt().item()
    low, high = (std / 2, std * 2) if std else (1e-4, 3.0)
    assert low < spread < high, (
        f"{what} starts with numbers of size {spread:.2g}; they should be between {low:.2g} and {high:.2g}"
    )


def random_wiring(P: Tensor, other: Tensor) -> None:
    """Make sure that each row of P has one entry, at a random place and with a random sign, and others by another seed.

    Args:
        P: (n, D), with at least 20 rows a column.
        other: the same from another seed.

    Raises:
        AssertionError: it is not so; the message says what follows a pattern.
    """
    assert ((P != 0).sum(dim=1) == 1).all(), "each weight hangs on exactly one slider: each row of P has one entry"
    n, D = P.shape
    slider, sign = (P != 0).int().argmax(dim=1), P.sum(dim=1).sign()  # (n,), (n,)
    up, counts = (P > 0).sum(dim=0), (P != 0).sum(dim=0)  # (D,), (D,)
    for lag in range(1, 2 * D + 1):
        together = (slider[lag:] == slider[:-lag]).double().mean()
        assert together < 0.5, (
            f"the sliders follow a pattern, dealt out in order: weights that stand {lag} apart share one. Shuffle them"
        )
    assert up.sum() not in (0, n), "all entries have the same sign; draw a sign for each weight"
    assert ((up > 0) & (up < counts)).all(), (
        "some slider moves all its weights the same way: draw a sign for each weight, independent of its slider "
        "(two generators with one seed draw alike)"
    )
    bound = 2.6 / math.sqrt(n)  # five standard deviations of the part of n coins that comes up
    part = (up.sum() / n).item()
    assert abs(part - 0.5) < bound, f"{part:.0%} of the entries are above zero; the signs must be drawn, half and half"
    for lag in range(1, 2 * D + 1):
        same = (sign[lag:] == sign[:-lag]).double().mean()
        assert abs(same - 0.5) < bound, "the signs follow a pattern; they must be drawn at random"
    elsewhere = ((other != 0).int().argmax(dim=1) != slider).double().mean()
    turned = (other.sum(dim=1).sign() != sign).double().mean()
    assert elsewhere or turned, "another seed gives the same P: use the seed"
    assert elsewhere > 0.5, "another seed changes the signs alone: the sliders must come from the seed too"
    assert abs(turned - 0.5) < bound, "another seed changes the sliders alone: the signs must come from the seed too"


def held(thing: object, but: Sequence[object] = ()) -> int:
    """How many numbers something keeps: tensors, arrays, lists, dictionaries, modules, and all that is in them.

    Args:
        thing: whatever it is. Bytes do not count: a generator's state is made of them.
        but: what does not count either, with all that is in it.
    """
    seen = {id(other) for other in but}

    def count(part: object) -> int:
        if isinstance(part, int | float):
            return 1
        if id(part) in seen:
            return 0
        seen.add(id(part))
        if hasattr(part, "dtype") and hasattr(part, "shape"):
            return 0 if "uint8" in str(part.dtype) else math.prod(part.shape)
        if isinstance(part, Mapping):
            return sum(map(count, part.values()))
        if isinstance(part, list | tuple | set):
            return sum(map(count, part))
        return 0 if isinstance(part, type | FunctionType) else count(getattr(part, "__dict__", ()))

    return count(thing)


def apart(new: nn.Module, old: nn.Module, names: tuple[str, str] = ("the new model", "the old one")) -> None:
    """Make sure that two models share no weight and no module.

    Raises:
        AssertionError: they share one; the message names it.
    """
    assert new is not old, f"{names[0]} is {names[1]} itself; make a new one"
    mine = {tensor.untyped_storage().data_ptr() for tensor in old.state_dict(keep_vars=True).values()}
    for name, tensor in new.state_dict(keep_vars=True).items():
        assert tensor.untyped_storage().data_ptr() not in mine, (
            f"{names[0]} shares {name} with {names[1]}: training one would change the other; copy it"
        )
    theirs = set(map(id, old.modules()))
    for name, module in new.named_modules():
        assert id(module) not in theirs, f"{names[0]} shares the module {name} with {names[1]}; copy it"


def untouched(model: nn.Module, what: str) -> None:
    """Make sure that a model computes with its classes' own `forward`: nothing is hooked in or put over it.

    Raises:
        AssertionError: something is.
    """
    for name, module in model.named_modules():
        place = f" at {name}" if name else ""
        assert not (module._forward_hooks or module._forward_pre_hooks), f"{what} has a hook{place}"
        assert "forward" not in vars(module), (
            f"{what} has another forward{place} than its class: change the weights alone"
        )


def plain(model: object, config: GPTConfig, what: str = "the result", dtype: torch.dtype | None = None) -> None:
    """Make sure that a model is a plain GPT of these dimensions: its modules, its parameters, and nothing else.

    Args:
        model: the student's.
        config: its dimensions.
        what: how messages call it.
        dtype: its precision, if that counts.

    Raises:
        AssertionError: it is not; the message names what is too much, missing or no parameter.
    """
    assert model is not None, f"{what} is None: did you forget the return?"
    assert type(model) is GPT, f"{what} must be a plain GPT, not {type(model).__name__}"
    with torch.device("meta"):
        twin = GPT(config)
    kinds = {name: type(module) for name, module in twin.named_modules()}
    for name, module in model.named_modules():
        assert kinds.get(name) is type(module), (
            f"{what} has a {type(module).__name__} at {name}; a plain GPT has {kinds[name].__name__ if name in kinds else 'nothing'} there"
        )
    untouched(model, what)
    have, want = dict(model.named_parameters()), dict(twin.named_parameters())
    missing = sorted(want.keys() - have.keys())
    assert not missing, f"{missing[0]} of {what} is no nn.Parameter: an optimizer would not find it"
    for name, weight in want.items():
        assert have[name].shape == weight.shape, f"{name} of {what} is of shape {tuple(have[name].shape)}"
        assert have[name].is_leaf, f"{name} of {what} hangs on a graph: compute under torch.no_grad()"
        assert have[name].dtype == (dtype or have[name].dtype), (
            f"{name} of {what} is {_short(have[name].dtype)}; it must be {_short(dtype)}, as what was given"
        )
