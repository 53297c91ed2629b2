"""From an order to a written selection and its report: featurise, weigh, select, judge, write."""

import tempfile
from pathlib import Path

from posbench.dsir.select import Weigher
from posbench.dsir.stream import Picks
from posbench.dsir.target import Target
from posbench.errors import UsageError
from posbench.experiment import Outcome
from posbench.recipe import digest
from posbench.store import Results, expect_writable
from posbench.studies.selection import folder
from posbench.studies.selection.order import Order
from posbench.studies.selection.prepare import prepared
from posbench.studies.selection.report import report
from posbench.studies.selection.summary import told
from posbench.studies.selection.work import Work, chosen_by
from posbench.types import Progress, no_progress


def run(order: Order, progress: Progress = no_progress) -> Outcome:
    """Selects, or finds the finished selection.

    Args:
        order: what to select.
        progress: shows long steps.

    Raises:
        UsageError: the order is impossible: more than there is, an empty target, quotas that cannot be met.
        DataError: a source cannot be read.
    """
    if (order.size > 0) == (order.share > 0) or order.share > 1:
        raise UsageError(
            f"--size {order.size} --share {order.share:g}; expected one of them: a number, or a share up to 1"
        )
    expect_writable(order.to)
    work = prepared(order, progress)
    prints = [_prints(one) if order.joint else [one.name, *_prints(one)] for one in work.targets]
    fingerprint = digest([order.recipe(), work.raw.fingerprint, prints, work.selector])
    results = Results(order.out)
    name = Path(work.raw.source.name).name or "raw"
    result = results.find(name, work.selector, fingerprint)
    written = folder.finished(order.to, fingerprint)
    fresh = result is None or not written
    if fresh:
        with tempfile.TemporaryDirectory(prefix="select-", dir=_scratch(order)) as scratch:
            chosen = _chosen(work, Path(scratch))
            result = results.write(name, work.selector, fingerprint, report(work, chosen), None)
            about = {"fingerprint": fingerprint, "result": str(result.folder), "recipe": order.recipe()}
            about |= {"raw": work.raw.fingerprint, "summary": told(result.report())}
            if not written:
                plain = [weigher.plain for weigher in work.weighers]
                names = [one.name for one in work.targets]
                folder.write(order.to, work.raw, chosen, names, plain, about, progress)
    assert result is not None
    summary = {**told(result.report()), "to": str(order.to), "result": str(result.folder)}
    return Outcome(result, result.report(), summary, fresh)


def _scratch(order: Order) -> Path:
    order.cache.mkdir(parents=True, exist_ok=True)
    return order.cache


def _prints(one: Target) -> list[str]:
    return [found.fingerprint for found in one.pools]


def _chosen(work: Work, scratch: Path) -> list[Picks]:
    for number, one in enumerate(work.targets):
        work.weighers.append(
            Weigher(work.raw, one, work.order.settings, work.order.seed, scratch / str(number), work.progress)
        )
    with work.phase("weigh and select"):
        return chosen_by(work, work.selector, work.size)
