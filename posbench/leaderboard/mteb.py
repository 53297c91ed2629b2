"""MTEB's scores as entries: its results repository's files (TASK.json), folders of them, or a CSV of them.

A task is a setting; its figure is the task's main score, the mean over its subsets as MTEB has it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posbench.errors import DataError, UsageError
from posbench.leaderboard.entry import WHOLE, Data, Entry, Figure, Model
from posbench.leaderboard.folder import New
from posbench.leaderboard.published import About, fraction, mapping, model
from posbench.studies.published import csv_rows
from posbench.types import distinct

BOARD = "MTEB retrieval"
MEASURE = "main score"
TITLE, URL = "MTEB results repository (embeddings-benchmark/results)", "https://github.com/embeddings-benchmark/results"
_NAME = "retrieval tasks of MTEB(Multilingual, v2)"
_NOTE = "main score of each task (nDCG@10, but nDCG@1 for LEMBPasskeyRetrieval), mean over its subsets"
_RETRIEVAL = "ndcg_at_10"
_EXPECTED = "an MTEB result file: task_name, and scores as split -> list of subsets with main_score and hf_subset"
_COLUMNS = ("model", "task", "split", "n_subsets", "main_score", "mteb_version", "model_revision")


@dataclass(frozen=True)
class Score:
    """One task of one model: ``known`` says what the model's own file does, as fields of ``Model``."""

    model: str
    hub: str
    task: str
    split: str
    subsets: int
    value: float
    version: str
    revision: str
    where: str
    known: Mapping[str, Any]


def read(paths: Sequence[Path], about: About) -> tuple[list[New], list[str]]:
    """The entries of files and folders, one a model, and remarks on what was left out.

    Raises:
        DataError: a file is none of the known ones, or says two things of one task.
        UsageError: a file does not say its model, or a folder holds no result.
    """
    scores, remarks = [], []
    for path in paths:
        if path.is_dir():
            found, left = _folder(path, about)
            scores += found
            remarks += left
        elif path.suffix == ".csv":
            scores += list(_csv(path, about))
        else:
            scores.append(_task(path, about))
    return [New(_entry(name, scores, about), about.name) for name in distinct(one.model for one in scores)], remarks


def _entry(name: str, scores: Sequence[Score], about: About) -> Entry:
    mine: dict[str, Score] = {}
    for one in scores:
        if one.model != name:
            continue
        if one.hub != (first := next(iter(mine.values()), one)).hub:
            raise DataError(f"{one.where}: {name} is {one.hub}, and {first.hub} in {first.where}; give one --of MODEL")
        if one.task in mine:
            raise DataError(f"{one.where}: {name} on {one.task} stands in {mine[one.task].where} too; give one of them")
        mine[one.task] = one
    odd = _odd_splits(mine, scores)
    versions, revisions = (
        ", ".join(sorted({value for one in mine.values() if (value := getattr(one, key))}))
        for key in ("version", "revision")
    )
    note = f"{_NOTE}; model revision {revisions or 'not stated'}; mteb_version {versions or 'not stated'}{odd}"
    first = next(iter(mine.values()))
    shown: Model = model(name, first.hub, revisions, **first.known)
    figures = {MEASURE: {task: {WHOLE: Figure(one.value)} for task, one in mine.items()}}
    tasks = {
        task: {"split": one.split, "subsets": one.subsets, "mteb_version": one.version, "model_revision": one.revision}
        for task, one in mine.items()
    }
    data = Data(about.board or BOARD, _NAME)
    source = about.source(TITLE, URL, note)
    return Entry(shown, data, "published", figures, source=source, details={"tasks": tasks})


def _odd_splits(mine: Mapping[str, Score], scores: Sequence[Score]) -> str:
    """Which tasks stand on another split than other models' here: their figures are not of the same questions."""
    parts = []
    for task, one in mine.items():
        others = distinct(other.split for other in scores if other.task == task and other.split != one.split)
        if others:
            parts.append(f"; {task} is of split {one.split}, other models' of {', '.join(others)}")
    return "".join(parts)


def _csv(path: Path, about: About) -> Iterator[Score]:
    """Rows of a table of scores; ``posir_name``, where there is such a column, is the name that is shown."""
    for line, row in enumerate(csv_rows(path, _COLUMNS), 2):
        where = f"{path}: line {line}"
        name = about.model or row.get("posir_name") or _short(row["model"])
        value = fraction(_number(row["main_score"]), f"{where}: main_score")
        subsets = _number(row["n_subsets"])
        if not isinstance(subsets, float) or not subsets.is_integer() or subsets < 1:
            raise DataError(f"{where}: n_subsets: {row['n_subsets']!r}; expected a whole number from 1 on")
        version, revision = row["mteb_version"], row["model_revision"]
        yield Score(name, row["model"], row["task"], row["split"], int(subsets), value, version, revision, where, {})


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _folder(path: Path, about: About) -> tuple[list[Score], list[str]]:
    """All retrieval results under a folder; ones of other tasks are left out and counted."""
    files = [file for file in sorted(path.rglob("*.json")) if file.name != "model_meta.json"]
    found, other = [], []
    for file in files:
        content = mapping(_json(file), str(file), _EXPECTED)
        if "scores" in content and not _is_retrieval(content):
            other.append(file)
        else:
            found.append(_score(file, content, about))
    if not found:
        raise UsageError(
            f"{path}: found {len(files)} JSON files, none an MTEB retrieval result; expected TASK.json files"
        )
    return found, [f"{path}: {len(other)} files of other tasks left out (no {_RETRIEVAL})"] if other else []


def _is_retrieval(content: Mapping[str, Any]) -> bool:
    splits = content["scores"].values() if isinstance(content["scores"], dict) else ()
    rows = [row for split in splits if isinstance(split, list) for row in split]
    return any(isinstance(row, dict) and _RETRIEVAL in row for row in rows)


def _task(path: Path, about: About) -> Score:
    content = mapping(_json(path), str(path), _EXPECTED)
    if "scores" in content and not _is_retrieval(content):
        raise DataError(f"{path}: found no {_RETRIEVAL} in its scores; expected the result of a retrieval task")
    return _score(path, content, about)


def _json(path: Path) -> Any:
    """A JSON file; MTEB's hold NaN, which Python's reader takes."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable JSON file: {error}") from error


def _score(path: Path, content: Mapping[str, Any], about: About) -> Score:
    task = content.get("task_name")
    if not isinstance(task, str) or not task or "scores" not in content:
        raise DataError(f"{path}: found the keys {', '.join(list(content)[:6])}; expected {_EXPECTED}")
    splits = mapping(content["scores"], f"{path}: scores", "split -> list of subsets")
    split = _split(path, list(splits), about.splits)
    rows = splits[split]
    where = f"{path}: scores > {split}"
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{where}: found {type(rows).__name__}; expected a list of subsets")
    subsets: dict[str, float] = {}
    for row in rows:
        name = str(mapping(row, where, "subsets with main_score and hf_subset").get("hf_subset", "default"))
        if name in subsets:
            raise DataError(f"{where}: the subset {name!r} stands twice; expected each once")
        subsets[name] = fraction(row.get("main_score"), f"{where} > {name} > main_score")
    hub, revision, known = _who(path, content)
    if not (about.model or hub):
        raise UsageError(
            f"{path}: found no model; expected the file in a folder MODEL/REVISION (ORG__NAME/REVISION), beside a "
            "model_meta.json, or --of MODEL"
        )
    value = sum(subsets.values()) / len(subsets)
    version = str(content.get("mteb_version") or "")
    name = about.model or _short(hub)
    return Score(name, hub, task, split, len(subsets), value, version, revision, str(path), known)


def _split(path: Path, names: Sequence[str], wanted: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    found = next((name for name in (*wanted, "test") if name in names), None)
    if found is None:
        raise UsageError(f"{path}: found the splits {', '.join(names)}; say which one with --split")
    return found


def _who(path: Path, content: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """The hub name, revision and facts of a file's model: from model_meta.json beside it, itself, or its folders."""
    meta = path.parent / "model_meta.json"
    facts = _json(meta) if meta.is_file() else {}
    if isinstance(facts, dict) and isinstance(facts.get("name"), str):
        known: dict[str, Any] = {"licence": str(facts.get("license") or "")}
        tokens, size = facts.get("max_tokens"), facts.get("n_parameters")
        known |= {"max_tokens": int(tokens)} if isinstance(tokens, int | float) and tokens == tokens else {}
        known |= {"parameters": f"{size / 1e6:.0f}M"} if isinstance(size, int | float) and size == size else {}
        return facts["name"], str(facts.get("revision") or ""), known
    if isinstance(content.get("model"), str):  # a file that posbench exported
        return content["model"], "", {}
    parents = path.resolve().parent
    if "__" in parents.parent.name:
        return parents.parent.name.replace("__", "/", 1), parents.name, {}
    return "", "", {}


def _short(hub: str) -> str:
    """A model's name without who published it."""
    return hub.rsplit("/", 1)[-1]
