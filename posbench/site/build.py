"""Builds the site: pages from their makers, the assets that they load, all in one folder that needs no server."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from posbench import __version__
from posbench.errors import UsageError
from posbench.site import (
    assets,
    boarddata,
    comparison,
    datasets,
    downloads,
    indexes,
    licences,
    methods,
    models,
    overview,
    reranking,
)
from posbench.site.context import Page, Site
from posbench.site.render import environment

Maker = Callable[[Site], Iterable[Page]]
Files = Callable[[Site], Iterable[tuple[str, bytes]]]

MAKERS: tuple[Maker, ...] = (
    overview.pages,
    datasets.pages,
    models.pages,
    comparison.pages,
    indexes.pages,
    reranking.pages,
    downloads.pages,
    methods.pages,
    licences.pages,
)
"""What makes pages."""

FILES: tuple[Files, ...] = (boarddata.files, downloads.files)
"""What makes other files: their paths under the site's folder, and their content."""

NAVIGATION = (
    ("index.html", "Leaderboard"),
    ("compare.html", "Compare"),
    ("hnsw.html", "HNSW"),
    ("rerankers.html", "Rerankers"),
    ("downloads.html", "Downloads"),
    ("methods.html", "Methods"),
)
"""The pages that every page leads to, where they are made."""

MARK = "posbench-site.json"
"""The file by which a folder is known to be a site, so that building may replace it."""


def build(site: Site, target: Path) -> list[str]:
    """Writes the site to a folder, in place of a site that is there, and returns the paths of its files, in order.

    Raises:
        UsageError: the folder is there and is no site.
        MissingPartError: a package that pages or assets are made with is not installed.
    """
    expect_site(target, new=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}.", dir=target.parent))
    try:
        paths = []
        for path, content in files(site):
            file = scratch / "new" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            paths.append(path)
        if target.exists():
            os.replace(target, scratch / "old")
        os.replace(scratch / "new", target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return sorted(paths)


def expect_site(target: Path, *, new: bool = False) -> None:
    """Refuses a folder that is no site.

    Args:
        target: the folder.
        new: whether a folder that is empty or not there will do too.

    Raises:
        UsageError: it is none.
    """
    if (target / MARK).is_file() or (new and (not target.exists() or (target.is_dir() and not any(target.iterdir())))):
        return
    if new:
        raise UsageError(f"{target}: found something that is no site; expected a site, an empty folder or a new name")
    raise UsageError(f"{target}: found no site; `posbench site build --to {target}` makes one")


def files(site: Site) -> Iterator[tuple[str, bytes]]:
    """Every file of the site: its path and content."""
    pages = [page for maker in MAKERS for page in maker(site)]
    paths = frozenset(page.path for page in pages)
    used = dict.fromkeys([*assets.styles(), *(name for page in pages for name in page.scripts)])
    shared = {
        "site": site,
        "version": __version__,
        "paths": paths,
        "navigation": [(path, name) for path, name in NAVIGATION if path in paths],
        "licences": assets.licences(used),
    }
    for page in pages:
        template = environment().get_template(page.template)
        yield page.path, template.render(shared | dict(page.values) | {"page": page}).encode()
    for name in used:
        yield f"assets/{name}", assets.load(name)
    for maker in FILES:
        yield from maker(site)
    mark = {"made_by": f"posbench {__version__}", "remarks": list(site.remarks)}
    yield MARK, (json.dumps(mark, indent=1, ensure_ascii=False) + "\n").encode()
