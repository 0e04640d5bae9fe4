"""Draw what attends to what: terminal, SVG, PNG, one self-contained page, notebook.

    figure = Figure(weights, target, source, title="Additive attention")
    print(terminal(figure)); save([figure], "attention.html")

These imports are not lazy: functions and their modules share names, so the functions must be bound
after the modules, and nothing heavier than numpy is behind them.
"""

from qkv.view.figure import Figure, show
from qkv.view.terminal import letters, terminal

__all__ = ["Figure", "letters", "show", "terminal"]
