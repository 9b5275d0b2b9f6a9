"""Floor 4: what a person sees of a simulation. Terminal table, plots, one self-contained page, the
folder of files.
"""

from baseload.report.page import page_html
from baseload.report.plots import draw_plots
from baseload.report.table import print_table, table_text
from baseload.report.write import write_report

__all__ = ["draw_plots", "page_html", "print_table", "table_text", "write_report"]
