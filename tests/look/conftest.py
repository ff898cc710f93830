from look_runs import stopped_run, tiny_run  # noqa: F401 (fixtures)
