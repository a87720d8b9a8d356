"""Tables, pictures and self-contained HTML pages from measured numbers."""

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "Column": "vlmcal.report.cells",
    "Spread": "vlmcal.report.cells",
    "Table": "vlmcal.report.tables",
    "Report": "vlmcal.report.html",
    "Section": "vlmcal.report.html",
    "Picture": "vlmcal.report.html",
    "Strip": "vlmcal.report.html",
    "evaluation_report": "vlmcal.report.pages.evaluation",
    "evaluation_table": "vlmcal.report.pages.evaluation",
    "runs_report": "vlmcal.report.pages.runs",
    "runs_table": "vlmcal.report.pages.runs",
    "runs_figure": "vlmcal.report.pages.run_pictures",
    "to_svg": "vlmcal.report.figures.svg",
    "save_figure": "vlmcal.report.figures.svg",
}
__all__ = sorted(_PUBLIC)

if TYPE_CHECKING:
    from vlmcal.report.cells import Column as Column
    from vlmcal.report.cells import Spread as Spread
    from vlmcal.report.figures.svg import save_figure as save_figure
    from vlmcal.report.figures.svg import to_svg as to_svg
    from vlmcal.report.html import Picture as Picture
    from vlmcal.report.html import Report as Report
    from vlmcal.report.html import Section as Section
    from vlmcal.report.html import Strip as Strip
    from vlmcal.report.pages.evaluation import evaluation_report as evaluation_report
    from vlmcal.report.pages.evaluation import evaluation_table as evaluation_table
    from vlmcal.report.pages.run_pictures import runs_figure as runs_figure
    from vlmcal.report.pages.runs import runs_report as runs_report
    from vlmcal.report.pages.runs import runs_table as runs_table
    from vlmcal.report.tables import Table as Table


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'vlmcal.report' has no attribute {name!r}")
