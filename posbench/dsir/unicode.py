"""The pinned Unicode table of the ``fast`` tokenizer: the class of every code point and its lower case.

``unicode.txt`` is written by ``tools/build_unicode_table.py``, once, so that features depend neither on the version of
Python nor on that of another package.
"""

from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

SPACE, WORD, OTHER, SINGLE, MARK = range(5)
CLASS_BITS = 3
_NAMES = {"space": SPACE, "word": WORD, "other": OTHER, "single": SINGLE, "mark": MARK}


@cache
def _lines() -> tuple[str, ...]:
    return tuple((resources.files("posbench.dsir") / "unicode.txt").read_text(encoding="ascii").splitlines())


def version() -> str:
    """The version of Unicode that the table was made from."""
    return _lines()[0].split()[1]


@cache
def table() -> NDArray[np.uint32]:
    """For each code point its lower case, shifted by ``CLASS_BITS``, and its class below: uint32[0x110000]."""
    lower = np.arange(0x110000, dtype=np.int64)
    classes = np.full(0x110000, OTHER, np.int64)
    for line in _lines()[1:]:
        what, first, last, *rest = line.split()
        if what == "class":
            classes[int(first, 16) : int(last, 16) + 1] = _NAMES[rest[0]]
        else:
            lower[int(first, 16) : int(last, 16) + 1 : int(rest[0])] += int(rest[1])
    return ((lower << CLASS_BITS) | classes).astype(np.uint32)
