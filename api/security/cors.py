"""CORS, with a refused preflight as problem+json."""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from api.errors import Problem


class Cors(CORSMiddleware):
    """Starlette's layer; the answer to a preflight that is refused says what was refused, as every other error does."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if scope.get("method") == "OPTIONS" and {"origin", "access-control-request-method"} <= set(headers):
            answer = self.preflight_response(headers)
            if answer.status_code == 400:
                problem = Problem(Request(scope), 400, "cors", bytes(answer.body).decode(), {"Vary": "Origin"})
                await problem(scope, receive, send)
                return
        await super().__call__(scope, receive, send)
