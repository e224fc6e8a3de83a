"""The explanations of the pipeline page: what each figure shows, how it is measured, what is normal here."""

from dashboard.pages.pipeline_view import FEED_LOST_SECONDS, FEED_SECONDS, SLOW_MS, SLOW_STORE_MS, VERY_SLOW_MS

STAGES = {
    "received": (
        "feed → producer",
        "From the event time of a bar's closing trade to the receipt of its newest tick by the producer. From final "
        "bars of the last 2 minutes. It holds the venue's delay and the difference of two clocks; the simulator "
        "stamps both at once, so 0 ms is normal there.",
    ),
    "processed": (
        "Kafka + Spark",
        "From receipt of the newest tick in a forming bar to Kafka's stamp of the row that the live query wrote: the "
        "producer, Kafka and Spark together, as a bar carries no stamp in between. Of the rows of the last 2 minutes "
        "that Redis holds, each the newest of its bar; 3 to 15 ms is normal.",
    ),
    "relayed": (
        "relay → Redis",
        "From that stamp to the relay handing the row to Redis, which shows and publishes it: reading Kafka again, "
        "live indicators, one write. 2 to 10 ms is normal.",
    ),
    "sent": (
        "Redis → socket",
        "From the relay's write to the API giving the bar to this browser's socket. Measured here, from the stamps of "
        "every update of one symbol in the last minute. 1 to 5 ms is normal.",
    ),
    "browser": (
        "socket → browser",
        "From the API's socket through the dashboard's server to this browser. The two clocks may differ: less than "
        "nothing means that this machine's is behind. 1 to 5 ms is normal on one machine, else your network's delay.",
    ),
    "painted": (
        "browser → paint",
        "From the message's arrival here to the frame on which it was drawn. A screen draws a frame each 17 ms; 5 to "
        "30 ms is normal, more when this machine is busy.",
    ),
    "total": (
        "tick received → paint",
        "From receipt of the newest tick by the producer to the painted frame, of every update: percentiles of the "
        f"whole way, not sums of percentiles. Up to {SLOW_MS:g} ms (p95) is the aim on one machine.",
    ),
}
"""By stage: its name, and how it is measured."""

TILES = {
    "ticks": (
        "Ticks",
        "Records into the topic `ticks` in the last 10 seconds, by its offsets: heartbeats are in it. Below it, trades "
        "that are in final bars, over whole minutes: these are about a minute behind, and minutes without bars count.",
    ),
    "bars": (
        "Final bars",
        "Bars of all intervals that became final in the last whole minute, as the database has them.",
    ),
    "watermark": (
        "Watermark lag",
        "Now less the watermark of the final query, from the commit of its last micro-batch: event time that it takes "
        "nothing older than. The watermark delay and a batch or two are normal; it grows while no tick comes.",
    ),
    "late": (
        "Late ticks",
        "Ticks of the last hour that came behind the watermark, as reconciling found them in the tick log. They are "
        "not lost: their bars have been amended.",
    ),
    "dead": (
        "Refused records",
        "Records in `ticks.dead` of the last hour: no tick can be made of them. The newest are listed below. None is "
        "normal.",
    ),
    "gaps": (
        "Open gaps",
        "Gaps that feeds noticed in their streams (missing ids, silence, a lost connection) and that are not filled "
        "yet. None is normal.",
    ),
    "sockets": (
        "Socket clients",
        "WebSocket clients of the API worker that answered, and what it did since it started. Conflated: forming bars "
        "that a newer one replaced while a client was busy, as is intended. Dropped ticks and slow clients are not.",
    ),
    "cache": (
        "Redis hits",
        "Reads that found their key, of all since Redis started, and answers on closed ranges that this API worker had "
        "kept. Above 90% is normal once it is warm.",
    ),
}
"""By tile: its title, and how it is measured."""

STRIP = (
    f"Feed: newest record of `ticks`; look after {FEED_SECONDS:g} s, broken after {FEED_LOST_SECONDS:g} s. Latency: "
    f"tick to Redis, p95; look above {SLOW_MS:g} ms, broken above {VERY_SLOW_MS / 1000:g} s. Queries: behind means "
    "that records wait for longer than a query may take, stalled that nothing moves besides. Stores: look above "
    f"{SLOW_STORE_MS:g} ms. Losses: gaps and refused records. All of it is pushed every 2 seconds."
)
FIGURES = {
    "stages": (
        "Latency of each stage",
        "p50, p95 and p99 of each stage on a logarithmic axis, so that 1 ms and 1 s are both to be read. Server "
        "stages as the API tells, the last three as this browser measured them in the last minute.",
    ),
    "latency": (
        "Latency over time",
        "The last 15 minutes while this page is open: receipt of a tick to the painted frame here, and to Redis as the "
        f"API tells. The dashed line is the aim of {SLOW_MS:g} ms for p95.",
    ),
    "throughput": (
        "Throughput",
        "Records a second by the offsets of the topics, over 10 seconds each. Forming bars are about as many as ticks "
        "times intervals.",
    ),
    "watermark": (
        "Watermark lag over time",
        "Now less the watermark of the final query. A saw-tooth between the watermark delay and a few seconds more is "
        "normal; a line that climbs is a query that stands, or a market without ticks.",
    ),
    "readers": (
        "Records waiting",
        "Records of their topic that readers have not finished: as committed to Kafka by the relay each second, and in "
        "the checkpoints of Spark. A saw-tooth is normal, its height is the rate times the trigger. The live query is "
        "not here: it writes a checkpoint every few minutes and is ahead of that.",
    ),
}
"""By figure: its title, and how it is measured."""
LISTS = {
    "queries": (
        "Queries",
        "Inferred from outside: committed offsets, checkpoints on the API's machine, the newest rows. Idle: has read "
        "all there is. Not known: nothing is to be seen from there.",
    ),
    "stores": ("Stores", "How long each took to answer a ping from the API just now."),
    "letters": ("Newest refused records", "The tail of `ticks.dead`: time refused (UTC), symbol, reason, the record."),
    "topics": ("Topics", "Records that Kafka keeps, and the age of the newest one."),
}
"""By list: its title, and what is in it."""
