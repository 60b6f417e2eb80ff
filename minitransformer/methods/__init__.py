"""The fine-tuning methods, by name. Each module here is written by a notebook: edit the notebook, not the module."""

from minitransformer.method import Method
from minitransformer.methods import adapter, dora, full, ia3, intrinsic, lora, lst, mam, prefix, prompt

MODULES = (full, adapter, prompt, prefix, ia3, lora, dora, lst, mam, intrinsic)  # in the order of the course
METHODS: dict[str, Method] = {module.METHOD.name: module.METHOD for module in MODULES}
