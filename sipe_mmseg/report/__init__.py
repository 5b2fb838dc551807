"""Reports that a browser opens from disk: ``collect_...`` gathers, ``write_...`` writes."""

from .collection import collect_label_report
from .label_report import LabelReport
from .page import render_label_report, write_label_report
from .run_page import write_run_report
from .run_report import RunReport, collect_run_report

__all__ = [
    'LabelReport',
    'RunReport',
    'collect_label_report',
    'collect_run_report',
    'render_label_report',
    'write_label_report',
    'write_run_report',
]
