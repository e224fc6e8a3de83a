"""What `/api/v1/metrics/sockets` answers, as published in OpenAPI."""

from pydantic import BaseModel, Field


class SocketMetrics(BaseModel):
    """The sockets of one worker."""

    worker: int = Field(description="process id of the worker that answers", examples=[4711])
    connections: int = Field(description="sockets that are open", examples=[50])
    connections_total: int = Field(description="sockets opened since the start", examples=[73])
    subscriptions: int = Field(description="subscriptions of all of them", examples=[250])
    streams: int = Field(description="streams that the worker follows", examples=[20])
    waiting: int = Field(description="messages that wait for sockets that are busy", examples=[0])
    busy: int = Field(description="sockets that have not taken all that was written to them", examples=[0])
    sent: int = Field(description="updates and resyncs sent since the start", examples=[1_234_567])
    conflated: int = Field(description="forming bars that a newer one replaced before they were sent", examples=[12])
    dropped: int = Field(description="ticks dropped because too many were waiting", examples=[0])
    slow_closes: int = Field(description="sockets closed because they did not read", examples=[0])
    resyncs: int = Field(description="times that missed messages were made up for", examples=[0])
    refused: int = Field(description="messages of clients that were refused", examples=[3])
    malformed: int = Field(description="messages from Redis that could not be read", examples=[0])
    redis_connected: bool = Field(description="whether the worker hears Redis", examples=[True])
    redis_connections: int = Field(description="how often it connected to Redis", examples=[1])
