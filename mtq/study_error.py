"""What `mtq.study.Study.run` raises; by itself, for the command line to know it without TensorFlow."""


class StudyError(RuntimeError):
    """Some runs of a study could not be finished. All the others are kept."""
