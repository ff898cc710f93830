"""Methods × teachers × students × seeds, and what comes of it; ``mstgraph.bench(…)`` runs it."""
