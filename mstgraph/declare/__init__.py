"""From gin text to a checked graph; every refusal names file and line."""
