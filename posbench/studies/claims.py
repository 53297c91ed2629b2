"""What published figures say of a paper's claims: supported, contradicted, undecided or not testable, and why.

Rules, fixed before the figures are read. Poor: the 95% interval of rho lies below POOR (supported), or above it and the
test is below .05 (contradicted). Less, grows: the test is below .05 and the interval on that side of 0 (supported) or
on the other (contradicted). No correlation: the interval lies within +-SMALL (supported) or the test is below .05
(contradicted). All else is undecided, for so few models.
"""

from collections.abc import Mapping
from typing import Any

POOR = 0.5
SMALL = 0.3
_LEVEL = 0.05


def judge(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """One dict a claim: ``claim``, ``verdict`` and ``because``, a plain sentence."""
    setting = found["settings"][found["tested_on"]]
    return [
        _poor(found, setting),
        _less(setting),
        _grows("PSI grows with document length (as published)", setting["psi"]["growth"]),
        _grows("PSI grows with document length (without what noise adds)", setting["psi"]["growth_without_noise"]),
        _primacy(),
        _no_size(found["size"]),
    ]


def _poor(found: Mapping[str, Any], setting: Mapping[str, Any]) -> dict[str, str]:
    figure = setting["correlations"]["Q4"]
    low, high = figure["interval"]
    verdict = "supported" if high < POOR else "contradicted" if low > POOR and figure["p"] < _LEVEL else "undecided"
    because = (
        f"rho {figure['rho']:+.2f}, 95% interval {low:+.2f} to {high:+.2f}, p {figure['p']:.3f}; {figure['items']} "
        f"models show only correlations of {found['detectable']:.2f} or more with 80% power, so a rho that is not "
        "significant is no sign of a poor one"
    )
    return _claim("scores on documents over 1,536 tokens correlate poorly with MTEB", verdict, because)


def _less(setting: Mapping[str, Any]) -> dict[str, str]:
    figure = setting["first_less_last"]
    short, long = (setting["correlations"][key]["rho"] for key in ("Q1", "Q4"))
    because = (
        f"rho {short:+.2f} up to 512 tokens and {long:+.2f} over 1,536: difference {figure['value']:+.2f}, "
        f"{_span(figure)}, p {figure['p']:.3f}"
    )
    verdict = _direction(figure["interval"], figure["p"])
    return _claim("scores on long documents correlate less with MTEB than scores on short ones", verdict, because)


def _grows(claim: str, figure: Mapping[str, Any]) -> dict[str, str]:
    because = (
        f"PSI over 1,536 tokens less PSI up to 512: {figure['mean']:+.3f} over the models, {_span(figure)}, "
        f"p {figure['p']:.3f}; it grows in {figure['models_that_grow']}"
    )
    return _claim(claim, _direction(figure["interval"], figure["p"]), because)


def _primacy() -> dict[str, str]:
    because = (
        "PSI has no sign: the published figures do not say whether evidence at the start or at the end is found "
        "better; per-query scores would (posbench bias)"
    )
    return _claim("most models show primacy", "not testable", because)


def _no_size(figure: Mapping[str, Any] | None) -> dict[str, str]:
    claim = "PSI does not correlate with model size"
    if figure is None:
        return _claim(claim, "not testable", "fewer than 4 of the models have a recipe that says their size")
    low, high = figure["interval"]
    verdict = "contradicted" if figure["p"] < _LEVEL else "undecided"
    verdict = "supported" if -SMALL < low and high < SMALL else verdict
    because = (
        f"rho of PSI over 1,536 tokens and size {figure['rho']:+.2f}, 95% interval {low:+.2f} to {high:+.2f}, "
        f"p {figure['p']:.3f}, {figure['items']} models: an absent correlation cannot be told from one of "
        f"{max(abs(low), abs(high)):.2f}"
    )
    return _claim(claim, verdict, because)


def _direction(interval: list[float], p: float) -> str:
    low, high = interval
    if p < _LEVEL and low > 0:
        return "supported"
    return "contradicted" if p < _LEVEL and high < 0 else "undecided"


def _span(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval"]
    return f"95% interval {low:+.2f} to {high:+.2f}"


def _claim(claim: str, verdict: str, because: str) -> dict[str, str]:
    return {"claim": claim, "verdict": verdict, "because": because}
