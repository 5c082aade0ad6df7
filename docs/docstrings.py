"""What the reference makes of our docstrings; a part of Griffe, which reads them."""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Shows `Example:` as code: Griffe knows that heading in the plural only."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the heading in the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
