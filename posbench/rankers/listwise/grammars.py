"""Grammars whose only words are valid rankings, for engines with llguidance (vLLM's backends guidance and auto).

A permutation needs a grammar of exponential size, or rules that carry what was used: llguidance's parametric rules hold
one 64-bit number (docs/parametric.md there). So there are two forms: all of up to 63 identifiers, a bit each, and the
first 10 of up to 127, 7 bits for each earlier one. Longer lists are written in steps of these (``steps``), each going
on from the answer so far.
"""

from collections.abc import Sequence

BITS = 63
FIELDS = 10
_WIDTH = 7
LARGEST = (1 << _WIDTH) - 1


def steps(n: int, top: int) -> list[int]:
    """How many identifiers each grammar adds to a ranking of n; empty where none can.

    Args:
        n: identifiers, 2 or more.
        top: identifiers wanted, 0 for all.
    """
    wanted = min(top or n, n)
    if n > LARGEST:
        return []
    found: list[int] = []
    while wanted:
        left = n - sum(found)
        found.append(wanted if left == wanted <= BITS else min(FIELDS, wanted))
        wanted -= found[-1]
    return found


def ranking(left: Sequence[int], count: int, begun: bool) -> str:
    """The grammar of ``count`` different identifiers out of those left, as Lark text with parametric rules.

    Args:
        left: identifiers, from 1.
        count: all of them (up to 63), or up to 10 of up to 127.
        begun: whether the answer has identifiers already, so that this begins with " > ".
    """
    lead = '" > " ' if begun else ""
    return (_all if count == len(left) <= BITS else _first)(left, count, lead)


def _all(left: Sequence[int], count: int, lead: str) -> str:
    items = [f'"[{name}]" rest::set_bit({bit}) %if bit_clear({bit})' for bit, name in enumerate(left)]
    rest = [f'" > " item::_ %if bit_count_lt(_, {count})', f'"" %if bit_count_eq(_, {count})']
    return "\n".join([f"start : {lead}item::0x0", _rule("item", items), _rule("rest", rest), ""])


def _first(left: Sequence[int], count: int, lead: str) -> str:
    lines = [f"start : {lead}p0::0x0"]
    for place in range(count):
        items = []
        for value in left:
            unlike = [f"ne([{_WIDTH * q}:{_WIDTH * (q + 1)}], {value})" for q in range(place)]
            then = f' " > " p{place + 1}::bit_or({value << _WIDTH * place})' if place + 1 < count else ""
            items.append(f'"[{value}]"{then}{f" %if {_all_of(unlike)}" if unlike else ""}')
        lines.append(_rule(f"p{place}", items))
    return "\n".join([*lines, ""])


def _rule(name: str, alternatives: Sequence[str]) -> str:
    return f"{name}::_ : " + "\n    | ".join(alternatives)


def _all_of(conditions: Sequence[str]) -> str:
    found = conditions[-1]
    for condition in reversed(conditions[:-1]):
        found = f"and({condition}, {found})"
    return found
