"""The first page: what this is, the boards, the table of the first."""

from collections.abc import Iterator

from posbench.leaderboard.boards import Board
from posbench.site import tables
from posbench.site.context import FLAGSHIP, Page, Site


def pages(site: Site) -> Iterator[Page]:
    """The page that a reader opens."""
    board = flagship(site)
    table = tables.make(board, site.boards) if board is not None else None
    yield Page(
        "index.html",
        "index.html",
        "Leaderboard",
        {"table": table},
        tables.SCRIPTS if table is not None else (),
        table.data() if table is not None else None,
    )


def flagship(site: Site) -> Board | None:
    """The board that the first page shows, None where there is none."""
    named = [board for board in site.boards if board.name == FLAGSHIP]
    return next(iter([*named, *site.boards]), None)
