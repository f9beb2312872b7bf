"""The compiled twins of slow loops, None where no C compiler was found at installation.

`characters` (`_characters.c`): functions that look at every character of a text; each stands in Python beside its use
(classifier.py, language.py, page.py) and says there what it means. `hidden` (`_hidden.c`): fastText's hidden layer for
one line, in half of fastText's time. Tests hold them equal to what serves without them, to the last bit.
"""

from importlib import import_module
from types import ModuleType

try:
    characters: ModuleType | None = import_module("mining._characters")
    hidden: ModuleType | None = import_module("mining._hidden")
except ImportError:
    characters = hidden = None
