"""What members bring: weights, answers, modules that never train; and what their layers are."""
