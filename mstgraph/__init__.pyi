from mstgraph.api.advice import Advice as Advice
from mstgraph.api.draw import draw as draw
from mstgraph.api.experiment import Experiment as Experiment
from mstgraph.api.experiment import load as load
from mstgraph.api.own_data import new as new
from mstgraph.api.run import Run as Run
from mstgraph.api.run import open_run as open_run
from mstgraph.benchmark.call import bench as bench
from mstgraph.page.page import write_page as write_page
from mstgraph.report.preparation import prepare as prepare
from mstgraph.run.artefacts.student import Student as Student
from mstgraph.run.artefacts.student import load_student as load_student
from mstgraph.run.reporter import Reporter as Reporter
from mstgraph.run.reporter import Silent as Silent
from mstgraph.support.errors import RunError as RunError
from mstgraph.support.errors import UserError as UserError
from mstgraph.support.interrupt import Interrupted as Interrupted
from mstgraph.tuning.call import tune as tune

__version__: str
