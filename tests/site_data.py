"""Entries that are made up for tests and benchmarks of the site: any number of models, settings and measures."""

from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa

from posbench.leaderboard import derive, ranks
from posbench.leaderboard.boards import LENGTHS, Found, boards
from posbench.leaderboard.derive import DEBIASED, PSI, SIGNED
from posbench.leaderboard.entry import Data, Entry, Figure, Model, Source
from posbench.site.context import Site
from posbench.store import Results
from posbench.types import Report

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
        figures[PSI][setting] = {length: _figure(rng.uniform(0.1, 0.8), False, rng) for length in LENGTHS}
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
    """The board as if per-query values were at hand: all pairs of a setting are compared."""
    rng, pairs = np.random.default_rng(seed), {}
    margins = np.full(board.margins.shape, np.nan)
    for s, setting in enumerate(board.settings):
        values = board.figures[board.measure][:, s, 0, 0]
        half = np.triu(rng.uniform(0.002, 0.06, (len(values), len(values))), 1)
        pairs[setting] = board.models, ranks.Compared(values[:, None] - values[None, :], half + half.T)
        margins[:, s] = pairs[setting][1].margin
    return replace(board, name=f"{board.name} by queries", margins=margins, pairs=pairs)


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


def results(base, folder, cache, models, settings=SETTINGS, queries=1200):
    """Stored results on a board, made from one that was run, and their entries in the cache as if derived before.

    Args:
        base: a stored result of ``posbench eval`` with evidence.
        folder: where the results are written.
        cache: a ``Cache``.
        models: how many rankers.
        settings: of each.
        queries: of each result.
    """
    rng, report = np.random.default_rng(0), base.report()
    derived = derive.derive(base)
    table = pa.concat_tables([report.queries] * (queries // report.queries.num_rows + 1)).slice(0, queries)
    table = table.set_column(2, "query_id", pa.array([f"q{i}" for i in range(queries)]))
    for setting in settings:
        name = f"large/{setting}"
        for m in range(models):
            values = np.clip(rng.normal(0.5 + 0.3 * m / models, 0.2, queries), 0, 1)
            made = table.set_column(table.column_names.index("nDCG@10"), "nDCG@10", pa.array(values))
            made = made.set_column(0, "dataset", pa.array([name] * queries).dictionary_encode())
            dataset = base.manifest["dataset"]
            part = dataset["parts"][0] | {"name": name, "fingerprint": setting}
            header = dict(base.manifest) | {"dataset": dataset | {"name": name, "parts": [part]}}
            header["ranker"] = base.manifest["ranker"] | {"name": f"ranker-{m:02}"}
            written = Results(folder).write(
                name, f"ranker-{m:02}", f"{m:08}", Report(header, report.measures, made), None
            )
            figures = {key: {setting: next(iter(cells.values()))} for key, cells in derived.figures.items()}
            one = msgspec.structs.replace(
                derived,
                model=Model(f"ranker-{m:02}"),
                data=Data("large", name, setting),
                figures=figures,
                details=derived.details | {"settings": {name: setting}},
            )
            cache.note("entries", derive.key_of(written, "here"), msgspec.to_builtins(one))
