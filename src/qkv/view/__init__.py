"""Draw what attends to what: terminal, SVG, PNG, one self-contained page, notebook.

    figure = Figure(weights, target, source, title="Additive attention")
    print(figure)
    save(figure, "attention.html")

These imports are not lazy: functions and their modules share names, so each function must be bound
after its module. Nothing heavier than numpy is behind them; resvg is imported when a PNG is drawn.
"""

from qkv.view.figure import Figure
from qkv.view.html import html
from qkv.view.huggingface import from_transformers
from qkv.view.maps import AttentionMaps
from qkv.view.measure import SHARE, VALUE, WEIGHT, Measure
from qkv.view.panels import Panel, Strip, side_by_side
from qkv.view.png import png
from qkv.view.save import save
from qkv.view.show import show
from qkv.view.svg import svg
from qkv.view.terminal import letters, terminal
from qkv.view.viewer import Viewer
from qkv.view.words import Words, words

__all__ = [
    "SHARE",
    "VALUE",
    "WEIGHT",
    "AttentionMaps",
    "Figure",
    "Measure",
    "Panel",
    "Strip",
    "Viewer",
    "Words",
    "from_transformers",
    "html",
    "letters",
    "png",
    "save",
    "show",
    "side_by_side",
    "svg",
    "terminal",
    "words",
]
