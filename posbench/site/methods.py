"""The page that says what every figure means, how it is made and where it comes from."""

from collections.abc import Iterator

from posbench.site.context import Page, Site

_WORDS = {
    "AP": "ap",
    "Judged": "judged",
    "P": "precision",
    "PSI": "psi",
    "PSI debiased": "debiased",
    "R": "recall",
    "RR": "rr",
    "Success": "success",
    "nDCG": "ndcg",
    "nDCG@10 of the first stage": "rerankers",
    "p-MRR": "p-mrr",
    "signed index": "signed",
}


def anchor(measure: str) -> str:
    """Where the page tells of a measure, by its name with or without a cutoff; "measures" for others."""
    return _WORDS.get(measure) or _WORDS.get(measure.partition("@")[0], "measures")


def pages(site: Site) -> Iterator[Page]:
    """The page, with the sources of all published figures."""
    published = dict.fromkeys(
        (found.entry.data.board, found.entry.source)
        for board in site.boards
        for some in board.entries.values()
        for found in some
        if found.entry.source is not None
    )
    yield Page("methods.html", "methods.html", "Methods", {"published": list(published)})
