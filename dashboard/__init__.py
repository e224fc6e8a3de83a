"""The dashboard: live pages over the API, on Dash.

`app.py` builds it, `pages/` has a file for each page, `figures/` the pure functions that draw, `live.py` and
`assets/live.js` the two ends of the push. Everything is read through the API, which may be on another machine.
"""
