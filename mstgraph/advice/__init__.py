"""Will distillation help: what teachers know that a student lacks, before the run is paid."""
