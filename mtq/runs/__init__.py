"""Training runs, each in its own folder; nothing is overwritten unless the user asks for it."""

from mtq.learning.train_function import steps_per_execution as steps_per_execution
from mtq.runs.models import load_best as load_best
from mtq.runs.models import load_tasks as load_tasks
from mtq.runs.models import save_tasks as save_tasks
from mtq.runs.parts import learning_rate_for as learning_rate_for
from mtq.runs.parts import make_experience as make_experience
from mtq.runs.parts import make_exploration as make_exploration
from mtq.runs.parts import make_learning_rate as make_learning_rate
from mtq.runs.parts import make_model as make_model
from mtq.runs.parts import make_network as make_network
from mtq.runs.parts import make_optimizer as make_optimizer
from mtq.runs.run import Run as Run
from mtq.runs.training import train as train
from mtq.runs.versions import versions as versions
