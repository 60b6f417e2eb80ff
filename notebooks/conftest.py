"""Which notebooks are run where: those on the real model where it is installed (`make real`)."""

from minitransformer.real import find

try:
    find("smollm2")
except ValueError:
    collect_ignore = ["17_real_model.ipynb"]
