"""What is predicted, one file per task; being in this folder is enough to be found.

A task of a user's own is one file with one ``@gin.configurable`` subclass of
`mstgraph.tasks.task.Task`, named in gin as ``data.task = @Name``.
"""
