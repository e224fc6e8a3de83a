"""Alerts: rules of users over bars, indicators, anomalies and the system's health, told to people.

`rules.py` and `conditions.py` say what a rule is, `states.py` when it speaks, `engine.py` runs all of them; none of
these does I/O or reads a clock. `server.py` drives them, `delivery.py` sends.
"""
