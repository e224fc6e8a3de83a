"""Anomalies: rules over closed bars and their indicators, one definition for the final query, the benchmark and tests.

`base.py` is the contract of a rule, `registry.py` finds the rules, `judge.py` applies them, `finding.py` is what comes
of it.
"""

from core.anomalies.base import Limits, Moment, Rule
from core.anomalies.finding import SEVERITIES, STATES, Finding
from core.anomalies.judge import Judge
from core.anomalies.registry import RULES

__all__ = ["RULES", "SEVERITIES", "STATES", "Finding", "Judge", "Limits", "Moment", "Rule"]
