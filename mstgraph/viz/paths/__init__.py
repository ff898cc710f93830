"""The picture of distillation paths."""
