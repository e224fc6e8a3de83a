"""Notebooks that import the project and show it. They define nothing; what they need beyond it is here.

`tape` and `history` are where their data come from, `results` reads measurements, `style` is how a plot looks,
`execution` runs them: `python -m notebooks execute`.
"""
