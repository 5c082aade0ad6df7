"""What of a figure lies over what."""

from matplotlib.backends.backend_agg import FigureCanvasAgg


def lay_out(figure):
    """Draw a figure again, after which every part of it says where it lies."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def find_overlaps(figure):
    """The legends that lie over a panel of a figure that was drawn, by the names in them.

    A legend of the whole figure may not lie over the numbers and names beside the panels either.
    """
    renderer = lay_out(figure)
    panels = [
        (legend, axes.get_tightbbox(renderer)) for legend in figure.legends for axes in figure.axes
    ]
    panels += [
        (axes.get_legend(), other.get_window_extent(renderer))
        for axes in figure.axes
        for other in figure.axes
        if axes.get_legend()
    ]
    return [
        [text.get_text() for text in legend.get_texts()]
        for legend, panel in panels
        if legend.get_window_extent(renderer).overlaps(panel)
    ]
