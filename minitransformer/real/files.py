"""A model's files as Hugging Face writes them, config.json and safetensors: opened, held against each other, written.

Nothing here believes a file: every name and shape is held against the config before a number is read.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from minitransformer.files import write_safetensors, write_text
from minitransformer.model import GPTConfig

FLOATS = ("F32", "F16", "BF16", "F64")

Shapes = Mapping[str, tuple[int, ...]]


def read_json(file: Path) -> dict:
    """A JSON file that holds one object.

    Raises:
        ValueError: it is missing, or holds something else.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error}); give a directory with a model's files") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} is damaged: it holds no object")
    return found


class Shards:
    """The safetensors files of a directory, opened: `shapes` by name, `metadata`, and `read`.

    Args:
        directory: where they are.
        stem: how their names begin; mostly there is one, model.safetensors.

    Raises:
        ValueError: there are none, one is damaged, a tensor is there twice, or is quantised.
    """

    def __init__(self, directory: Path, stem: str = "model") -> None:
        files = sorted(directory.glob(f"{stem}*.safetensors"))
        if not files:
            pickles = sorted(file.name for file in directory.glob("*.bin"))
            why = f"; {pickles[0]} is a pickle, which could run any program and is not opened" if pickles else ""
            raise ValueError(f"{directory} holds no {stem}.safetensors{why}; save it as safetensors")
        self.opened: dict[str, object] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.metadata: dict[str, str] = {}
        for file in files:
            try:
                shard = safe_open(file, framework="pt")
            except (SafetensorError, OSError) as error:
                raise ValueError(f"{file} is damaged ({error}); copy it again") from None
            self.metadata |= shard.metadata() or {}
            for name in shard.keys():
                tensor = shard.get_slice(name)
                if name in self.shapes:
                    raise ValueError(f"{directory} holds {name!r} twice; leave one set of files there")
                if tensor.get_dtype() not in FLOATS:
                    raise ValueError(f"{file}: {name!r} is of type {tensor.get_dtype()}; read are {', '.join(FLOATS)}")
                self.opened[name], self.shapes[name] = shard, tuple(tensor.get_shape())

    def drop(self, name: str) -> None:
        """Forget a tensor that is not wanted."""
        self.shapes.pop(name, None)

    def read(self, name: str) -> Tensor:
        """A tensor in 32 bits."""
        return self.opened[name].get_tensor(name).float()


def check_settings(file: Path, settings: Mapping[str, object], kind: str, only: Mapping[str, object]) -> None:
    """Make sure that a config.json describes a model that is known here.

    Args:
        file: for the message.
        settings: what the config says.
        kind: of the model, as in its `model_type`.
        only: the one value that each of these settings may have, where it is given.

    Raises:
        ValueError: it describes another one; the message names the setting.
    """
    if settings.get("model_type") != kind:
        raise ValueError(f"{file}: model_type is {settings.get('model_type')!r}; here it must be {kind!r}")
    for name, value in only.items():
        if settings.get(name, value) != value:
            raise ValueError(f"{file}: {name}={settings[name]!r} is not known here; it must be {value!r}")


def check_shapes(file: Path, expected: Shapes, found: Shapes) -> None:
    """Make sure that a file holds each weight of a model, in its shape, and nothing else; both by the file's names.

    Raises:
        ValueError: one is missing, has another shape, or is not known.
    """
    for name, shape in expected.items():
        if name not in found:
            raise ValueError(f"{file} is damaged or incomplete: it holds no {name!r}")
        if found[name] != shape:
            raise ValueError(f"{file}: {name!r} has the shape {found[name]}, but its settings say {shape}")
    unknown = sorted(found.keys() - expected.keys())
    if unknown:
        raise ValueError(
            f"{file} holds {unknown[0]!r}, which this kind of model does not have: its weights cannot be used"
        )


def check_layers(file: Path, n_layer: int, found: Shapes) -> None:
    """Make sure that there are no fewer tensors than layers: a model of a billion layers would fill the memory with names.

    Raises:
        ValueError: there are fewer.
    """
    if n_layer > len(found):
        raise ValueError(f"{file} announces {n_layer} layers, but holds {len(found)} tensors")


def config_of(kind: type[GPTConfig], file: Path, dimensions: Mapping[str, object], **more: object) -> GPTConfig:
    """The config of this kind that a file describes.

    Raises:
        ValueError: a dimension is no whole number that a model can have, or they do not fit each other.
    """
    for name, value in dimensions.items():
        if type(value) is not int or not 0 < value < 2**31:
            raise ValueError(f"{file}: {name} is {value!r}, which no model has")
    try:
        return kind(**dimensions, **more)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def fill(model: nn.Module, read: Callable[[str], Tensor]) -> nn.Module:
    """Give a model on the meta device its weights: `read` gives each by our name."""
    model.load_state_dict({name: read(name) for name in model.state_dict()}, assign=True)
    return model.requires_grad_().eval()


def write_model(directory: str | Path, settings: Mapping[str, object], weights: Mapping[str, Tensor]) -> None:
    """Write config.json and model.safetensors.

    Raises:
        OSError: they cannot be written.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    write_safetensors(dict(weights), directory / "model.safetensors", {"format": "pt"})
    write_text(directory / "config.json", json.dumps(settings, indent=2) + "\n")
