"""Entries that are made up for tests and benchmarks of the site: any number of models, settings and measures."""

from dataclasses import replace

import numpy as np

from posbench.leaderboard.boards import LENGTHS, Found, boards
from posbench.leaderboard.derive import DEBIASED, PSI, SIGNED
from posbench.leaderboard.entry import Data, Entry, Figure, Model, Source
from posbench.leaderboard.ranks import Compared
from posbench.site.context import Site

LANGUAGES = ("ara", "cmn", "deu", "eng", "fra", "ita", "kor", "por", "rus", "spa")
SETTINGS = [f"{one}-{one}" for one in LANGUAGES] + [f"{one}-eng" for one in LANGUAGES if one not in ("cmn", "eng")]
MEASURES = ("RR@10", "AP", "R@100")
HOSTILE = "<script>alert(1)</script>\"'&><img src=x onerror=alert(2)>"


def entry(rng, model, settings=SETTINGS, board="PosIR", *, intervals=True, **changes):
    """An entry with every measure, as ``posbench eval`` would find them."""
    skill = rng.normal(0.5, 0.12)
    figures = {name: {} for name in ("nDCG@10", *MEASURES, PSI, DEBIASED, SIGNED)}
    for setting in settings:
        level = float(np.clip(skill + rng.normal(0, 0.05), 0.05, 0.95))
        figures["nDCG@10"][setting] = {
            length: _figure(level - 0.05 * k + rng.normal(0, 0.01), intervals, rng) for k, length in enumerate(LENGTHS)
        }
        figures[PSI][setting] = {length: _figure(rng.uniform(0.1, 0.8), intervals, rng) for length in LENGTHS}
        for name in (*MEASURES, DEBIASED):
            figures[name][setting] = {"all": _figure(level + rng.normal(0, 0.1), intervals, rng)}
        figures[SIGNED][setting] = {"all": _figure(rng.normal(-0.1, 0.1), intervals, rng)}
    data = Data(board, f"{board}/test")
    source = Source("A paper's table 3", "https://example.org/paper", "as printed")
    made = {"origin": "published", "source": source, "command": "posbench eval --model e5", **changes}
    return Entry(Model(model, "118M", 512, "MIT"), data, figures=figures, **made)


def _figure(value, intervals, rng):
    value = float(np.clip(value, -0.99, 0.99))
    spread = float(rng.uniform(0.005, 0.03))
    return Figure(value, value - spread, value + spread, 1200) if intervals else Figure(value)


def found(entries, folder):
    """The entries as if they were read from files of the folder."""
    return [Found(one, folder / f"{i}.json") for i, one in enumerate(entries)]


def site(folder, models=100, settings=SETTINGS, *, intervals=True, seed=0):
    """A site of one large board, and a small one that shares its models."""
    rng = np.random.default_rng(seed)
    names = [f"organisation/embedding-model-{i:03}-multilingual" for i in range(models)]
    large = [entry(rng, name, settings, intervals=intervals) for name in names]
    small = [entry(rng, name, ["all"], "MTEB", intervals=intervals) for name in names[::2]]
    return Site(tuple(boards(found([*large, *small], folder))))


def with_margins(board, seed=0):
    """The board as if per-query values were at hand: each pair of models that have a setting was compared in it."""
    rng, pairs, margins = np.random.default_rng(seed), {}, np.full((len(board.models), len(board.settings)), np.nan)
    for s, setting in enumerate(board.settings):
        values = board.figures[board.measure][:, s, 0, 0]
        rows = np.flatnonzero(~np.isnan(values))
        half = rng.uniform(0.004, 0.06, (len(rows), len(rows)))
        half = np.triu(half, 1) + np.triu(half, 1).T
        compared = Compared(values[rows, None] - values[None, rows], half)
        pairs[setting] = tuple(board.models[row] for row in rows), compared
        margins[rows, s] = compared.margin
    return replace(board, name=f"{board.name} by queries", pairs=pairs, margins=margins)


def varied(folder):
    """A small site of every kind of board and name, for tests.

    Boards: PosIR with intervals, plain without (and a model that lacks settings), one compared over queries, one of a
    single setting, and one whose names, settings, sources and commands are hostile.
    """
    rng = np.random.default_rng(3)
    few = SETTINGS[:5] + SETTINGS[-2:]
    entries = [entry(rng, f"model-{i}", few) for i in range(9)]
    entries += [entry(rng, f"model-{i}", few, "plain", intervals=False) for i in range(6)]
    entries += [entry(rng, "part", few[:2], "plain", intervals=False)]
    entries += [entry(rng, f"model-{i}", ["all"], "single", origin="here") for i in range(3)]
    evil = {"source": Source(HOSTILE, "javascript:alert(3)"), "command": HOSTILE}
    names = [HOSTILE, "\u202eright-to-left \u05d0\u05d1", "long" * 90, "__proto__", "model-1"]
    entries += [entry(rng, name, [HOSTILE, "a-b", "c,d&e=f"], HOSTILE, **evil) for name in names]
    made = boards(found(entries, folder))
    large = next(board for board in made if board.name == "PosIR")
    return Site((*made, with_margins(large)), remarks=(f"left out: {HOSTILE}",))
