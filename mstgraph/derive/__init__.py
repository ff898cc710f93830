"""From a graph to its plan: teachers, stages, identities, and what never changes."""
