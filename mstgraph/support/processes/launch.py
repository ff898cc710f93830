"""Starts a command several times over by torch's own launcher, and says which one this is."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta

from mstgraph.support.errors import RunError, UserError
from mstgraph.support.machine.cores import cores

LAUNCHED = "TORCHELASTIC_RUN_ID"  # torch's launcher sets it
PATIENCE = 5.0
"""Seconds for which others leave the word to the main process before they fail: the launcher ends
all when one has."""

ANSWERS_WITHIN = timedelta(seconds=5)  # the launcher does, if it is there
INTERRUPTED = 130
MOST_PER_CORE = 16  # processes; more than one is for trying things out


def launched() -> bool:
    """Say whether torch's launcher started this process."""
    return LAUNCHED in os.environ


def rank() -> int:
    """Return which of several processes this is, from 0, the one that speaks."""
    return int(os.environ.get("RANK", 0)) if launched() else 0


def give_way(left_alone: bool = False) -> None:
    """Let the main process speak and end first; most of what stops one stops all.

    Args:
        left_alone: another process has ended first, and knows why: then all give way to it.
    """
    if left_alone or rank() > 0:
        time.sleep(2 * PATIENCE if left_alone else PATIENCE)


def speaks() -> bool:
    """Say whether this process tells the user what ended it: the first that asks, and no other.

    The launcher counts, in the store over which its processes meet. Where it is gone, each speaks.
    """
    if not launched():
        return True
    from torch.distributed import TCPStore

    host, port = os.environ.get("MASTER_ADDR", ""), int(os.environ.get("MASTER_PORT", 0))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        store = TCPStore(host, port, timeout=ANSWERS_WITHIN, wait_for_workers=False)
        return store.add(f"mstgraph spoke {attempt}", 1) == 1
    except (RuntimeError, OSError):
        return True


def launch(count: int, arguments: Sequence[str]) -> int:
    """Run ``python -m mstgraph`` with arguments in several processes, and return its exit code.

    Ctrl-C is passed on to each of them once.

    Args:
        count: how many.
        arguments: of the command line.

    Raises:
        RunError: one of them was killed.
        UserError: there are so many that the machine could do nothing else.
    """
    if count > (most := MOST_PER_CORE * cores()):
        raise UserError(
            f"--processes is {count}, expected at most {most}, {MOST_PER_CORE} for each core here"
        )
    # torch's launcher is what takes time to import, and only this needs it.
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.CRITICAL)  # stacks, of processes that speak for themselves
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // count)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=uuid.uuid4().hex,
        max_restarts=0,
        monitor_interval=0.1,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "mstgraph", *arguments)
    except (SignalException, KeyboardInterrupt):
        return INTERRUPTED
    except ChildFailedError as error:
        which, failure = error.get_first_failure()
        if failure.exitcode >= 0:
            return failure.exitcode
        name = signal.Signals(-failure.exitcode).name
        raise RunError(
            f"process {which} of {count} was ended by {name}; the same command continues"
        ) from None
    return 0
