"""REST over the stores: `create_app(settings)` in app.py, one file per resource in routes/.

Handlers read through the stores' async readers only; joining and filling bars is pure (merge.py), indicators
at a bar too (points.py), and so is the way times and numbers are written (times.py, render.py).
"""
