"""Drop-downs and sliders of ipywidgets that the keyboard can work in JupyterLab."""

import pathlib

import anywidget


class KeyboardGuard(anywidget.AnyWidget):
    """An invisible child for a box of ipywidgets: keys go to the widgets, not to JupyterLab.

    JupyterLab reads keys pressed in an output as its own commands (Down: next cell, 2: heading).
    """

    _esm = pathlib.Path(__file__).parent / "keyboard.js"
