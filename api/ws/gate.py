"""The seam to `api.security`: who comes in, and whether they may say one thing more."""

from starlette.websockets import WebSocket

from api.security.principal import Principal
from api.security.socket import ADMISSION, Refused, admit, allow


class Gate:
    """One socket's. Without the layer of `api.security` around the application, everybody is admitted."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._principal: Principal | None = None

    async def admit(self) -> None:
        """Accept the socket. Raises Refused when it was turned away."""
        if ADMISSION in self._websocket.scope:
            self._principal = await admit(self._websocket)
        else:
            await self._websocket.accept()

    async def allow(self) -> bool:
        """Whether the client may send this message too."""
        return self._principal is None or await allow(self._principal)


__all__ = ["Gate", "Refused"]
