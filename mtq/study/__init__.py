"""Studies: experiments that measure what sharing a network does to each task."""

from mtq.errors import StudyError
from mtq.study.analysis.published import Published
from mtq.study.analysis.results import Results, load_results
from mtq.study.design.arm import Arm
from mtq.study.design.network import scaled
from mtq.study.design.protocol import Protocol
from mtq.study.report.report import Report
from mtq.study.running.placement import where
from mtq.study.study import Study

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
