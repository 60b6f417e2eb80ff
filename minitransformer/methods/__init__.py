"""The fine-tuning methods, by name. Each module here is written by a notebook: edit the notebook, not the module."""

from minitransformer.method import Method
from minitransformer.methods import adapter, full, lora

METHODS: dict[str, Method] = {module.METHOD.name: module.METHOD for module in (full, adapter, lora)}
