"""What is predicted, one file per task: outputs, loss of a sample, divergence, metrics."""
