"""Writes ``posbench/dsir/unicode.txt``: python3.13 tools/build_unicode_table.py [TARGET].

The table is the one of the Python that runs this script (3.13.0 has Unicode 15.1.0). Another version changes the
features of texts with the characters that it adds, so it is a change of ``FeatureSpec.describe``, never a silent one.

A line is a range of code points, first and last in hexadecimal: ``class FIRST LAST NAME`` or, for the simple lower
case, ``lower FIRST LAST STEP DELTA`` (every STEP-th character of the range is lower-cased by adding DELTA).
"""

import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path

TARGET = Path(__file__).parents[1] / "posbench" / "dsir" / "unicode.txt"
SURROGATES = range(0xD800, 0xE000)
# Scripts that are written without spaces between words, and Hangul, by the names of their characters.
UNSPACED = (
    *("CJK UNIFIED IDEOGRAPH", "CJK COMPATIBILITY IDEOGRAPH", "IDEOGRAPHIC ", "HANGZHOU "),
    *("HIRAGANA ", "KATAKANA", "HALFWIDTH KATAKANA", "HENTAIGANA ", "BOPOMOFO ", "YI SYLLABLE"),
    *("HANGUL SYLLABLE", "HANGUL LETTER", "HANGUL CHOSEONG", "HALFWIDTH HANGUL"),
    *("THAI ", "LAO ", "KHMER ", "MYANMAR ", "TAI ", "NEW TAI LUE ", "AHOM "),
)
HANGUL_TAILS = ("HANGUL JUNGSEONG", "HANGUL JONGSEONG")  # the vowel and the final of a syllable in parts
ZERO_WIDTH_SPACE = 0x200B
JOINERS = {0x00AD, 0x200C, 0x200D, *range(0xE0020, 0xE0080)}  # soft hyphen, (non-)joiners, tags of flags
IDEOGRAPHIC_PLANES = range(0x20000, 0x40000)  # every character to come here will be an ideograph, says Unicode


def kind(code: int) -> str:
    """The class of a character."""
    char = chr(code)
    category, name = unicodedata.category(char), unicodedata.name(char, "")
    if char.isspace() or (category == "Cf" and code not in JOINERS):
        return "space"
    if category[0] == "M" or category == "Cf" or name.startswith(HANGUL_TAILS):
        return "mark"
    if code in IDEOGRAPHIC_PLANES or (category in {"Lo", "Lm", "Nl"} and name.startswith(UNSPACED)):
        return "single"
    return "word" if category[0] in "LN" or category == "Pc" else "other"


def lower(code: int) -> int:
    """The simple lower case, where it takes as many bytes of UTF-8 as the character itself; else the character."""
    if code in SURROGATES:
        return code
    small = chr(code).lower()
    same = len(small) == 1 and len(small.encode()) == len(chr(code).encode())
    return ord(small) if same else code


def classes() -> Iterable[str]:
    """The lines of the classes; what no line names is ``other``."""
    kinds = [kind(code) for code in range(sys.maxunicode + 1)]
    first = 0
    for code in range(1, len(kinds) + 1):
        if code == len(kinds) or kinds[code] != kinds[first]:
            if kinds[first] != "other":
                yield f"class {first:04X} {code - 1:04X} {kinds[first]}"
            first = code


def cases() -> Iterable[str]:
    """The lines of the lower case."""
    runs: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        delta = lower(code) - code
        if not delta:
            continue
        if runs and runs[-1][3] == delta and code - runs[-1][1] == (runs[-1][2] or code - runs[-1][1]) <= 2:
            runs[-1][1:3] = [code, code - runs[-1][1]]
        else:
            runs.append([code, code, 0, delta])
    for first, last, step, delta in runs:
        yield f"lower {first:04X} {last:04X} {step or 1} {delta}"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    head = f"unicode {unicodedata.unidata_version}"
    target.write_text("\n".join([head, *classes(), *cases()]) + "\n", encoding="ascii")
