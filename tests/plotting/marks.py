"""What of a figure lies over what."""

from matplotlib.backends.backend_agg import FigureCanvasAgg


def lay_out(figure):
    """Draw a figure again, after which every part of it says where it lies."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def find_overlaps(figure):
    """The legends that lie over a panel of a figure that was drawn, by the names in them."""
    renderer = lay_out(figure)
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    return [
        [text.get_text() for text in legend.get_texts()]
        for legend in filter(None, legends)
        for axes in figure.axes
        if legend.get_window_extent(renderer).overlaps(axes.get_window_extent(renderer))
    ]
