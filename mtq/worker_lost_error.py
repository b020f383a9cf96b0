"""The error of a run that lost one of its processes."""


class WorkerLostError(RuntimeError):
    """Another process of the run died, or could not be reached."""
