"""Reports that a browser opens from disk: :func:`collect_label_report` gathers, :func:`write_label_report` writes."""

from .collection import collect_label_report
from .label_report import LabelReport
from .page import render_label_report, write_label_report

__all__ = ['LabelReport', 'collect_label_report', 'render_label_report', 'write_label_report']
