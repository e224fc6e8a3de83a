"use strict";
/* How long a tick takes until it is on the screen: tickstream.painted, latency, samples, nowUs. Loaded before live.js.

   painted(message) is called right after the chart was given an update. A callback of the next animation frame runs
   before that frame is drawn; the task that it posts runs after the browser has drawn it. */
(() => {
  const WINDOW_US = 60e6;
  const MOST_SAMPLES = 20000;
  const MOST_PENDING = 5000;   // a hidden page draws no frames
  const STAGES = ["received", "processed", "relayed", "sent", "browser", "painted"];
  const QUANTILES = {p50: 0.5, p95: 0.95, p99: 0.99};

  const kept = [];
  const pending = [];
  const channel = new MessageChannel();
  let waiting = false;
  let shift = 0;

  /* Microseconds since the epoch, finer than Date. The page's own clock drifts from the system's, so it follows it. */
  const own = () => performance.timeOrigin + performance.now();
  const nowUs = () => Math.round((own() + shift) * 1000);
  function follow() {
    const off = Date.now() + 0.5 - (own() + shift);
    if (Math.abs(off) > 2) { shift += off; }
  }

  function painted(message) {
    if (!message || !message.stamps || document.hidden || pending.length >= MOST_PENDING) { return; }
    pending.push(message);
    if (waiting) { return; }
    waiting = true;
    requestAnimationFrame(() => channel.port2.postMessage(null));
  }

  channel.port1.onmessage = () => {
    waiting = false;
    const at = nowUs();
    for (const message of pending.splice(0)) { kept.push(sample(message, at)); }
    trim(at);
  };

  function sample(message, at) {
    const stamps = message.stamps;
    const data = message.data || {};
    return {symbol: message.symbol, channel: message.channel, interval: message.interval, start: data.start,
            offset: data.last_offset, trades: data.trade_count, event: stamps.event_us, received: stamps.received_us,
            processed: stamps.processed_us, relayed: stamps.relayed_us, sent: stamps.sent_us,
            browser: message.browser_us, painted: at};
  }

  function trim(at) {
    let old = Math.max(0, kept.length - MOST_SAMPLES);
    while (old < kept.length && kept[old].painted < at - WINDOW_US) { old += 1; }
    if (old > 0) { kept.splice(0, old); }
  }

  /* Milliseconds over the last 60 s. Each stage is named by its end, from the one before; `total` and the figures
     beside `count` go from receipt of the newest tick to the painted frame, `tick_to_paint` from the tick's own stamp.
     Without `all`, only those beside `count`. */
  function latency(all = true) {
    trim(nowUs());
    if (!all) { return between("received", "painted"); }
    const stages = {};
    STAGES.slice(1).forEach((name, index) => { stages[name] = between(STAGES[index], name); });
    stages.received = between("event", "received");
    stages.tick_to_paint = between("event", "painted");
    return {...between("received", "painted"), stages};
  }

  function between(from, to) {
    const stamped = kept.filter((each) => each[from] > 0 && each[to] > 0);
    const spans = Float64Array.from(stamped, (each) => (each[to] - each[from]) / 1000).sort();
    const found = {count: spans.length};
    for (const [name, quantile] of Object.entries(QUANTILES)) { found[name] = percentile(spans, quantile); }
    return found;
  }

  /* By linear interpolation between neighbours, as the API does; null of nothing. */
  function percentile(ascending, quantile) {
    if (!ascending.length) { return null; }
    const place = quantile * (ascending.length - 1);
    const low = Math.floor(place);
    const high = Math.min(low + 1, ascending.length - 1);
    return ascending[low] + (ascending[high] - ascending[low]) * (place - low);
  }

  setInterval(follow, 5000);
  window.tickstream = Object.assign(window.tickstream || {}, {
    painted, latency, nowUs, samples: () => kept.slice(), STAGES: ["event", ...STAGES],
  });
})();
