"""Reports that a browser opens from disk: :func:`collect_label_report` gathers, :func:`write_label_report` writes."""

from .label_report import LabelReport, collect_label_report
from .page import render_label_report, write_label_report

__all__ = ['LabelReport', 'collect_label_report', 'render_label_report', 'write_label_report']
