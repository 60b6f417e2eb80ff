"""The process that runs a student's code: it gives up what it must not have, for good, then becomes a Jupyter kernel.

Started by supervisor.py as `python -P kernel.py LIMITS -f CONNECTION_FILE`, with the limits as JSON.
"""

import json
import os
import sys


def limit(memory: int, seconds: int, file_size: int, processes: int) -> None:
    """Set the limits of this process and all that it starts. On Windows there are none.

    Args:
        memory: bytes of data that a process may hold.
        seconds: of CPU time a process.
        file_size: bytes of the largest file.
        processes: how many at once, threads included; 0: not limited here.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {"RLIMIT_DATA": memory, "RLIMIT_CPU": seconds, "RLIMIT_FSIZE": file_size, "RLIMIT_CORE": 0}
    if processes:
        limits["RLIMIT_NPROC"] = processes
    for name, value in limits.items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (AttributeError, ValueError, OSError):  # a system that lacks it; the watch of supervisor.py remains
            continue


if __name__ == "__main__":
    limits = json.loads(sys.argv.pop(1))
    if limits.pop("alone"):  # process numbers are others in here, and bubblewrap ends this process with its parent
        os.environ.pop("JPY_PARENT_PID", None)
    limit(**limits)
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()
