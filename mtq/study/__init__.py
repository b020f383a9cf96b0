"""The sharing study: what does a shared network do?"""

from mtq.study.arm import Arm
from mtq.study.network import scaled
from mtq.study.placement import where
from mtq.study.protocol import Protocol
from mtq.study.published import Published
from mtq.study.report import Report
from mtq.study.results import Results, load_results
from mtq.study.study import Study
from mtq.study_error import StudyError

__all__ = [
    "Arm",
    "Protocol",
    "Published",
    "Report",
    "Results",
    "Study",
    "StudyError",
    "load_results",
    "scaled",
    "where",
]
