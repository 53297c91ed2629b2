"""PosIR's results as entries: the paper's aggregate file, and the authors' files of per-query values.

The authors' code writes ``evaluation_results/MODEL/PAIR/DOMAIN.json`` (eval.py) and gathers those of a model in
``MODEL/MODEL.json`` (agg_result.py); ``all_eval_metrics.json`` holds the ten official columns of every model and pair.
From per-query values the figures are computed here, with intervals, by posbench's own core.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from posbench.bias import LENGTHS
from posbench.errors import DataError, UsageError
from posbench.leaderboard import derive
from posbench.leaderboard.entry import WHOLE, Data, Entry, Figure
from posbench.leaderboard.folder import New
from posbench.leaderboard.published import About, fraction, mapping, model
from posbench.store import read_json
from posbench.studies.published import PSI, SCORE, read_posir
from posbench.types import Report, distinct

BOARD = "PosIR"
TITLE, URL = "PosIR (arXiv 2601.08363), evaluation_results of its repository", "https://github.com/Ziyang1060/PosIR"
_NAME = "PosIR-Benchmark-v1"
_EXPECTED = "an object, model -> setting -> figure -> fraction, or per-query values (evaluation_results) of the authors"
_RESULTS = "evaluation_results"
_MEASURES = {"ndcg_cut_10": SCORE, "ndcg_cut_100": "nDCG@100", "recall_100": "R@100", "map_cut_100": "AP@100"}


@dataclass(frozen=True)
class Part:
    """Per-query values of one model on one domain of a language pair, as the authors' file has them."""

    model: str
    pair: str
    domain: str
    values: Mapping[str, Any]
    where: str


def read(paths: Sequence[Path], about: About, seed: int = 0) -> list[New]:
    """The entries of files and folders, one a model and file of aggregates, one a model for all per-query files.

    Raises:
        DataError: a file is none of the known ones; the message names file and key.
        UsageError: a folder holds no JSON file, or a file does not say its model.
    """
    found: list[New] = []
    parts: list[Part] = []
    for path in paths:
        for file in _files(path):
            content = mapping(read_json(file), str(file), _EXPECTED)
            some = list(_parts(file, content, about))
            parts += some
            if not some:
                found += [New(one, about.name) for one in _aggregate(file, about)]
    return found + [_per_query(name, _of_model(parts, name), about, seed) for name in _of(parts)]


def _of_model(parts: Sequence[Part], name: str) -> list[Part]:
    """The parts of a model in one order, whatever files they came from: resamples depend on it."""
    return sorted((part for part in parts if part.model == name), key=lambda part: (part.pair, part.domain))


def _of(parts: Sequence[Part]) -> list[str]:
    return distinct(part.model for part in parts)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob("*.json"))
    if not files:
        raise UsageError(f"{path}: found no JSON file; expected MODEL/PAIR/DOMAIN.json as PosIR's eval.py writes them")
    return files


def _aggregate(path: Path, about: About) -> Iterator[Entry]:
    """One entry a model of the paper's table."""
    table = read_posir(path)
    if about.model and len(table.models) > 1:
        raise UsageError(
            f"{path}: --of names one; the file has {len(table.models)} ({', '.join(table.models[:3])}, ...)"
        )
    source = about.source(
        TITLE, URL, f"{_RESULTS}/all_eval_metrics.json, as given; the paper's protocol reads 8,192 tokens"
    )
    for m, name in enumerate(table.models):
        figures: derive.Figures = {
            measure: {
                setting: {length: Figure(float(cells[m, s, g])) for g, length in enumerate((WHOLE, *LENGTHS))}
                for s, setting in enumerate(table.settings)
            }
            for measure, cells in ((SCORE, table.scores), (PSI, table.psi))
        }
        yield Entry(model(about.model or name), Data(about.board or BOARD, _NAME), "published", figures, source=source)


def _parts(path: Path, content: Mapping[str, Any], about: About) -> Iterator[Part]:
    """The per-query parts of a file; none where it holds aggregates."""
    if _RESULTS in content:  # eval.py: one domain
        name = about.model or str(content.get("model_name") or "")
        if not name:
            raise UsageError(f"{path}: found no model_name; expected one, or --of MODEL")
        domain, pair = str(content.get("domain") or path.stem), _pair(path, content)
        yield Part(
            name, pair, domain, mapping(content[_RESULTS], f"{path}: {_RESULTS}", "query id -> values"), str(path)
        )
        return
    for pair, domains in content.items():  # agg_result.py: all domains of one model
        for domain, told in domains.items() if isinstance(domains, dict) else ():
            if isinstance(told, dict) and _RESULTS in told:
                where = f"{path}: {pair} > {domain}"
                values = mapping(told[_RESULTS], f"{where} > {_RESULTS}", "query id -> values")
                yield Part(about.model or path.stem, pair, domain, values, where)


def _pair(path: Path, content: Mapping[str, Any]) -> str:
    """The language pair: from the folders that queries and corpus were in, as the authors' code has it."""
    codes = []
    for key in ("queries_path", "corpus_path"):
        folders = Path(str(content.get(key, ""))).parts
        codes.append(folders[-3].split("-")[0] if len(folders) > 2 else "")
    if all(len(code) == 3 for code in codes):
        return "-".join(codes)
    name = path.resolve().parent.name
    if len(name.split("-")) != 2:
        raise DataError(
            f"{path}: found no languages in queries_path and corpus_path, nor in the folder {name!r}; expected a "
            "folder named by language pair, as eng-eng"
        )
    return name


def _per_query(name: str, parts: Sequence[Part], about: About, seed: int) -> New:
    """The entry of one model's per-query values, and the values."""
    seen: dict[tuple[str, str], str] = {}
    for part in parts:
        if (part.pair, part.domain) in seen:
            rival = seen[part.pair, part.domain]
            raise DataError(f"{part.where}: {name}, {part.pair}, {part.domain} stands in {rival} too; give one of them")
        seen[part.pair, part.domain] = part.where
    measures = [ours for theirs, ours in _MEASURES.items() if all(theirs in _scores(part) for part in parts)]
    if SCORE not in measures:
        lacking = next(part for part in parts if "ndcg_cut_10" not in _scores(part))
        raise DataError(f"{lacking.where}: its scores hold no ndcg_cut_10; expected what pytrec_eval gives")
    table = pa.concat_tables([_table(name, part, measures) for part in parts])
    settings = {f"{BOARD}/{pair}": pair for pair in distinct(part.pair for part in parts)}
    figures, bias = derive.analysed(Report({}, tuple(measures), table), settings, seed)
    domains = {pair: sum(part.pair == pair for part in parts) for pair in settings.values()}
    source = about.source(
        "per-query values by PosIR's evaluation code", URL, f"{_RESULTS} of {len(parts)} domain files"
    )
    details = {"settings": settings, "bias": bias, "domains": domains, "seed": seed}
    data = Data(about.board or BOARD, _NAME)
    entry = Entry(model(name), data, "published", figures, source=source, details=details)
    return New(entry, about.name, table)


def _scores(part: Part) -> Mapping[str, Any]:
    """The measures of a part's first query."""
    query, told = next(iter(part.values.items()))
    where = f"{part.where}: query {query}"
    return mapping(mapping(told, where, "pos_char_span and scores").get("scores"), f"{where} > scores", "measures")


def _table(name: str, part: Part, measures: Sequence[str]) -> pa.Table:
    """The rows of a part, with the columns of ``Report.queries``.

    The files do not name the document that holds the evidence. Within a domain its two lengths tell it from others,
    but for rare chances, so ``doc_id`` is made of them: queries on one document are resampled together.
    """
    theirs = {ours: key for key, ours in _MEASURES.items()}
    rows: dict[str, list[Any]] = {key: [] for key in ("doc_id", "span_start", "span_end", "doc_chars", "doc_tokens")}
    values: dict[str, list[float]] = {measure: [] for measure in measures}
    for query, told in part.values.items():
        where = f"{part.where}: query {query}"
        facts = mapping(told, where, "pos_char_span, pos_char_length, pos_token_length and scores")
        start, end, chars, tokens = _place(facts, where)
        for key, value in zip(rows, (f"{part.domain}:{chars}:{tokens}", start, end, chars, tokens), strict=True):
            rows[key].append(value)
        scores = mapping(facts.get("scores"), f"{where} > scores", "measures")
        for measure in measures:
            values[measure].append(fraction(scores.get(theirs[measure]), f"{where} > scores > {theirs[measure]}"))
    n = len(part.values)
    columns = {"dataset": [f"{BOARD}/{part.pair}"] * n, "ranker": [name] * n, "query_id": list(part.values)}
    return pa.table({**columns, "domain": [part.domain] * n, **rows, **values})


def _place(facts: Mapping[str, Any], where: str) -> tuple[int, int, int, int]:
    """Start and end of the evidence, and its document's characters and tokens."""
    span = facts.get("pos_char_span")
    found = [*(span if isinstance(span, list) else [span]), facts.get("pos_char_length"), facts.get("pos_token_length")]
    whole = [int(one) for one in found if isinstance(one, int | float) and not isinstance(one, bool) and one == one]
    if len(found) != 4 or len(whole) != 4 or min(whole[0], whole[2]) < 0 or whole[0] > whole[1]:
        raise DataError(
            f"{where}: pos_char_span {span}, lengths {found[-2:]}; expected [start, end] and two whole numbers"
        )
    return whole[0], whole[1], whole[2], whole[3]
