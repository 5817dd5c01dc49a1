"""The job queue: the only place where API and workers meet."""
