"""List the shipped datasets, rankers, measures, index presets or grids of `posbench hnsw`."""

import argparse

from posbench.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench list``."""
    parser.add_argument("what", choices=("datasets", "rankers", "measures", "presets", "grids"))
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Prints names and descriptions."""
    from posbench import recipe

    if args.what == "measures":
        rows = {name: text for name, text in _MEASURES.items()}
    elif args.what == "presets":
        rows = _presets()
    elif args.what == "grids":
        rows = _grids()
    elif args.what == "datasets":
        rows = {name: recipe.dataset(name).description for name in recipe.names("datasets")}
    else:
        rows = {name: recipe.ranker(name).description for name in recipe.names("rankers")}
    if args.json:
        common.print_json({args.what: [{"name": name, "description": text} for name, text in rows.items()]})
        return 0
    width = max(map(len, rows), default=0)
    for name, text in rows.items():
        common.echo(f"{name:<{width}}  {text}")
    return 0


def _presets() -> dict[str, str]:
    """The parameters of each preset of ``posbench eval --index``, and where they were read."""
    from posbench.hnsw.presets import presets

    return {
        name: f"M {one.m}, efConstruction {one.ef_construction}, efSearch {one.ef_search_text}; {one.source}"
        for name, one in presets().items()
    }


def _grids() -> dict[str, str]:
    """What each shipped grid of ``posbench hnsw`` is."""
    from posbench.studies.hnsw import grid

    return {name: grid.read(name)[1].description for name in grid.names()}


_MEASURES = {
    "nDCG@k": "discounted cumulative gain, linear gains, over the ideal order's",
    "RR@k": "1 / rank of the first relevant document",
    "AP[@k]": "average precision",
    "R@k": "recall",
    "P@k": "precision",
    "Success@k": "whether a relevant document is among the first k",
    "Judged@k": "share of the first k that is judged",
    "p-MRR": "whether documents that a changed instruction rules out move down (collections with paired queries)",
    "...": "any other name that ir-measures knows, computed by ir-measures",
}
