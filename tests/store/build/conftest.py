"""What tests of builds share."""

from __future__ import annotations

import pytest

from mstgraph.store.build.reading.workers import Workers


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many processes are started, whenever some are."""
    found: list[int] = []
    begin = Workers.__init__

    def noted(self: Workers, samples: object, count: int) -> None:
        found.append(count)
        begin(self, samples, count)

    monkeypatch.setattr(Workers, "__init__", noted)
    return found
