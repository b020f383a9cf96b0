"""Training runs, each in its own folder; nothing is overwritten unless the user asks for it."""

from mtq.learning.train_function import steps_per_execution as steps_per_execution
from mtq.runs.models import load_best as load_best
from mtq.runs.models import load_tasks as load_tasks
from mtq.runs.models import save_tasks as save_tasks
from mtq.runs.models import with_masks_of_run as with_masks_of_run
from mtq.runs.run import Run as Run
from mtq.runs.versions import versions as versions
