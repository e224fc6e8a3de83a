"""Access to the API: keys and tokens, scopes, limits, and the shape of requests.

`Security(settings, clock)` is built with the application; `install` puts its layers around it, the last call of
`create_app`. From the outside in:

- `envelope`: request id, headers for browsers, deadline, 500
- CORS, where origins are set
- `shape`: length of the URL, no keys in it
- `access`: who calls (`keys`, `tokens`, `gate`), which scope that needs (`policy`), how often (`limits`), audit log;
  `socket` for WebSockets
- `shape` again: size and speed of the body

`protocol` guards the headers, below ASGI; `commands` is `python -m api keys`.
"""

from api.security.install import Security

__all__ = ["Security"]
