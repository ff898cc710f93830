"""Reading batches ahead: a thread fills buffers that go round, and names pages long before.

A buffer is filled again only when its batch is done with, so that an epoch allocates nothing.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mstgraph.store.reader import Store

PREFETCHED = 3  # batches that are ready; more would only take memory
AHEAD_BYTES = 256 * 1024 * 1024  # pages asked for before they are read

Values = Mapping[str, Tensor]


class Buffer:
    """Room for a batch of some columns as stored; page-locked where a GPU copies from it.

    Args:
        store: the feature store.
        columns: names of the columns.
        rows: samples of the largest batch.
        device: where batches are wanted.
    """

    def __init__(self, store: Store, columns: Sequence[str], rows: int, device: torch.device):
        on_gpu = device.type == "cuda"
        self.device = device
        self.columns: dict[str, Tensor] = {}
        for name in columns:
            column = store.columns[name]
            empty = torch.from_numpy(np.empty((rows, *column.shape), column.stored_dtype))
            self.columns[name] = empty.pin_memory() if on_gpu else empty
        self._copied = torch.cuda.Event() if on_gpu else None

    def rows(self, count: int) -> dict[str, Tensor]:
        """Return the first rows of every column, views."""
        return {name: values[:count] for name, values in self.columns.items()}

    def on_device(self, values: Values) -> dict[str, Tensor]:
        """Return values on the device; on the CPU they are still the buffer's own."""
        moved = {name: tensor.to(self.device, non_blocking=True) for name, tensor in values.items()}
        if self._copied is not None:
            self._copied.record(torch.cuda.current_stream(self.device))
        return moved

    def wait(self) -> None:
        """Wait until nothing is copied from it any more."""
        if self._copied is not None:
            self._copied.synchronize()


def stream(
    batches: Sequence[Tensor], buffers: Sequence[Buffer], fill: Callable[[Tensor, Buffer], Values]
) -> Iterator[dict[str, Tensor]]:
    """Yield filled batches on the device, each valid until the next one is asked for.

    Numpy and LMDB release the interpreter while the thread copies.

    Args:
        batches: positions of each batch, [batch] int64.
        buffers: at least two, `PREFETCHED` + 2 to keep as many ready.
        fill: (positions, buffer) → the batch; called in a thread, in the order of the batches.

    Raises:
        BaseException: whatever ``fill`` raises, where its batch is asked for.
    """
    free: queue.SimpleQueue[Buffer] = queue.SimpleQueue()
    ready: queue.SimpleQueue[tuple[Values, Buffer] | BaseException] = queue.SimpleQueue()
    stopped = threading.Event()

    def produce() -> None:
        try:
            for positions in batches:
                buffer = free.get()
                if stopped.is_set():
                    return
                buffer.wait()
                ready.put((fill(positions, buffer), buffer))
        except BaseException as error:  # for the thread that waits
            ready.put(error)

    thread = threading.Thread(target=produce, name="mstgraph-feed", daemon=True)
    for buffer in buffers:
        free.put(buffer)
    thread.start()
    try:
        for _ in batches:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            values, buffer = item
            yield buffer.on_device(values)
            free.put(buffer)
    finally:
        stopped.set()
        free.put(buffers[0])  # wakes a thread that waits for one
        thread.join()


class ReadAhead:
    """Asks for the pages of coming batches, a stretch of them at a time in the store's order.

    Args:
        store: the feature store.
        columns: names of the columns that will be read.
        ids: sample numbers in the order in which they will be read, [samples] int64.
        window: samples that are read from one region (`mstgraph.data.order`); None for any order.
        done: samples that were read before; a window may have begun among them.
    """

    def __init__(
        self,
        store: Store,
        columns: Sequence[str],
        ids: np.ndarray,
        window: int | None = None,
        done: int = 0,
    ):
        self._store = store
        self._columns = columns
        row = max(1, sum(store.columns[name].row_bytes for name in columns))
        most = max(1, AHEAD_BYTES // 2 // row)
        stretch = most if window is None else min(window, most)
        stretches = np.arange(done, done + len(ids)) // stretch
        self._ids = ids[np.lexsort((ids, stretches))]
        self._distance = 2 * stretch
        self._asked = 0
        self._read = 0

    def advance(self, samples: int) -> None:
        """Keep the distance: to be called before so many more samples are read."""
        self._read += samples
        wanted = self._ids[self._asked : self._read + self._distance]
        self._asked += len(wanted)
        for name in self._columns:
            self._store.will_need(name, wanted)
