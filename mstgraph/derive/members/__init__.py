"""What members bring: weights, answers, modules that never train."""
