"""The WebSocket: subscribe, snapshot, updates that can be counted; docs/websocket.md is what a client reads.

One hub in each worker follows Redis over one connection. A book is what it knows of one symbol and interval, a client
is one socket with what waits for it.
"""
