"""What a benchmark declares, and the DAG of stages that its cells share."""
