"""Methods × teachers × students × seeds, and what comes of it; ``mstgraph.bench(…)`` runs it."""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """Importing anything from here makes the folder the value of ``mstgraph.bench``."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from mstgraph.bench.call import bench

        return bench(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
