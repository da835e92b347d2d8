"""Private elements that carry the physics of an acquisition, kept by value.

The option `acquisition` of a profile keeps what `elements.csv` lists, as far as its value is made
of numbers and of words that belong to the element. Headers that hold more are written anew from the
fields in `fields.csv`, never copied.
"""

from .cleaning import clean_value
from .table import AcquisitionElement, elements

__all__ = ["AcquisitionElement", "clean_value", "elements"]
