"""MLflow: a run of its own for each run (https://mlflow.org)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gin

from mstgraph.support.errors import UserError


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class MLflow:
    """Tells MLflow of every epoch: ``engine.tracker = @MLflow()``.

    Attributes:
        uri: where it keeps runs, ``'sqlite:///mlflow.db'`` or a server's address.
        experiment: name of the experiment that runs stand in.
    """

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "mstgraph"

    def started(self, name: str, settings: str) -> None:
        """Begin a run, with the configuration as a file."""
        mlflow = self._library()
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_experiment(self.experiment)
        mlflow.start_run(run_name=name)
        mlflow.log_text(settings, "config.gin")

    def epoch(self, stage: str, epoch: int, values: Mapping[str, float]) -> None:
        """Log an epoch's numbers under ``STAGE/NAME``."""
        named = {f"{stage}/{name}": value for name, value in values.items()}
        self._library().log_metrics(named, step=epoch)

    def ended(self, values: Mapping[str, float]) -> None:
        """Log what students came to, and end the run."""
        mlflow = self._library()
        mlflow.log_metrics(dict(values))
        mlflow.end_run()

    def _library(self) -> Any:
        try:
            import mlflow
        except ImportError as error:
            raise UserError(
                f"engine.tracker is MLflow, which is not installed ({error}); install it with: "
                "pip install 'mstgraph[mlflow]'"
            ) from error
        return mlflow
