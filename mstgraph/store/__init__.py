"""Feature stores: reading and verifying; `mstgraph.store.build` writes. Knows nothing of graphs."""

from mstgraph.store.load import load_recipe, missing_raw
from mstgraph.store.reader import Store, open_store
from mstgraph.store.recipe import Chunk, Labels, Modality, Recipe
from mstgraph.store.verification import verify

__all__ = [
    "Chunk",
    "Labels",
    "Modality",
    "Recipe",
    "Store",
    "load_recipe",
    "missing_raw",
    "open_store",
    "verify",
]
