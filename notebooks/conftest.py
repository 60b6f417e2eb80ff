"""Which notebooks are run where: those on the real model where it is installed (`make real`), 19 where its libraries are too."""

from importlib.util import find_spec

from minitransformer.real import find

collect_ignore = []
try:
    find("smollm2")
except ValueError:
    collect_ignore += ["17_real_model.ipynb", "18_four_bits.ipynb", "19_ecosystem.ipynb"]
if find_spec("transformers") is None or find_spec("peft") is None:
    collect_ignore += ["19_ecosystem.ipynb"]
