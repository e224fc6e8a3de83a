"""A report as text: what a person reads before trusting a model."""

from typing import Any


def text(report: dict[str, Any]) -> str:
    """The report of `ml.evaluate.evaluate` in lines."""
    data = report["data"]
    lines = [
        f"{data['bars']:,} bars of {len(data['histories'])} histories, {data['from']} to {data['to']}",
        "no feature looks ahead" if not report["looking_ahead"] else f"LOOKING AHEAD: {report['looking_ahead']}",
        "",
    ]
    for horizon, found in report["horizons"].items():
        lines += _horizon(horizon, found)
    return "\n".join(lines)


def _horizon(horizon: str, found: dict[str, Any]) -> list[str]:
    right = found["accuracy"]
    lines = [
        f"{horizon} bar{'s' if horizon != '1' else ''} ahead: {found['samples']:,} samples out of sample "
        f"at {found['moments']:,} moments in {len(found['folds'])} blocks",
        f"  direction right {right['value']:.2%} [{right['low']:.2%}, {right['high']:.2%}], "
        f"rank correlation {found['rank_correlation']:+.4f}, log loss {found['log_loss']:.4f}, "
        f"calibration off by {found['calibration']['expected_error']:.2%}",
        f"  {'against':<12} {'skill of return':>30} {'skill of rise':>30} {'its accuracy':>13}",
    ]
    for name, plain in found["baselines"].items():
        both = [_interval(found[f"skill_of_{kind}"][name]) for kind in ("return", "rise")]
        lines.append(f"  {name:<12} {both[0]:>30} {both[1]:>30} {plain['accuracy']:>13.2%}")
    lines += [f"  {verdict(found)}", ""]
    return lines


def verdict(found: dict[str, Any]) -> str:
    """One sentence on what the horizon is worth."""
    beaten = found["beats_baselines"]
    if all(beaten.values()):
        return "beats every baseline, in return and direction"
    if any(beaten.values()):
        which = "return" if beaten["return"] else "direction"
        return f"beats every baseline in {which} only: abstains from the other"
    return "does not beat the baselines: abstains"


def _interval(estimate: dict[str, float]) -> str:
    return f"{estimate['value']:+.3%} [{estimate['low']:+.3%}, {estimate['high']:+.3%}]"
