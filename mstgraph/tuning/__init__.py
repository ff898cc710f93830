"""Looking for settings: trials as cells of one plan, judged on the validation split alone."""
