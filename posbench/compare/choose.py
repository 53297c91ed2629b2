"""Finds the stored results that names or folders stand for."""

from collections.abc import Sequence
from pathlib import Path

from posbench.errors import UsageError, unknown_name
from posbench.store import Result, Results, open_result, result_in, safe_name
from posbench.types import distinct


def choose(results: Results, arguments: Sequence[str], dataset: str = "") -> dict[str, Result]:
    """The results to compare, by the name that each is shown with.

    Args:
        results: where finished results are.
        arguments: result folders or names of rankers; empty: all results of the dataset.
        dataset: its name as `posbench runs` shows it, the beginning of that up to a "/", or the path it was read from;
            may be left out where only one dataset fits.

    Raises:
        UsageError: a name fits no result or several, the results are of several datasets, or one is of a study.
    """
    folders = {argument: open_result(Path(argument)) for argument in arguments}
    stored = [] if arguments and all(folders.values()) else _of_dataset(results, dataset)
    found = [folders[argument] or _named(argument, stored, results.root) for argument in arguments] or stored
    for result in found:
        if result.kind != "eval":
            raise UsageError(f"{result.folder} is of `posbench {result.kind}`; expected results of `posbench eval`")
    chosen = list({result.folder.resolve(): result for result in found}.values())
    if not arguments or not all(folders.values()):
        _refuse_several_datasets(chosen)
    return dict(zip(labels(chosen), chosen, strict=True))


def _of_dataset(results: Results, dataset: str) -> list[Result]:
    stored = [result for result in results.all() if result.kind == "eval"]
    if not stored:
        raise UsageError(f"no results in {results.root}; `posbench eval --model e5` makes one")
    if not dataset:
        return stored
    names = distinct(result.manifest["dataset"]["name"] for result in stored)
    fitting = {dataset} & set(names) or {name for name in names if _fits(name, dataset)}
    if not fitting:
        raise unknown_name("result of dataset", dataset, names, f"{results.root} holds results of {', '.join(names)}")
    return [result for result in stored if result.manifest["dataset"]["name"] in fitting]


def _fits(name: str, wanted: str) -> bool:
    short = {wanted, safe_name(wanted), Path(wanted).name, Path(wanted).stem}
    return name in short or safe_name(name) in short or name.startswith(wanted.rstrip("/") + "/")


def _named(argument: str, stored: Sequence[Result], root: Path) -> Result:
    fitting = [result for result in stored if result.manifest["ranker"]["name"] == argument]
    if not fitting:
        if Path(argument).is_dir():
            return result_in(Path(argument))
        known = distinct(result.manifest["ranker"]["name"] for result in stored)
        raise unknown_name("result of ranker", argument, known, f"{root} holds results of {', '.join(known)}")
    _refuse_several_datasets(fitting)
    if len(fitting) > 1:
        listing = ", ".join(str(result.folder) for result in fitting)
        raise UsageError(f"{len(fitting)} results of {argument}: {listing}; name the folder")
    return fitting[0]


def _refuse_several_datasets(found: Sequence[Result]) -> None:
    names = distinct(result.manifest["dataset"]["name"] for result in found)
    if len(names) > 1:
        raise UsageError(f"found results of {len(names)} datasets ({', '.join(names)}); choose one with --dataset")


def labels(found: Sequence[Result]) -> list[str]:
    """What results are shown as: the rankers' names, with the start of the fingerprint where several have one name."""
    names = [result.manifest["ranker"]["name"] for result in found]
    return [
        f"{name}@{result.folder.name[:6]}" if names.count(name) > 1 else name
        for name, result in zip(names, found, strict=True)
    ]
