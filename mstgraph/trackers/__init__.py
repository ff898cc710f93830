"""Who else is told of a run's numbers: MLflow, Weights & Biases, a tracker of one's own."""
