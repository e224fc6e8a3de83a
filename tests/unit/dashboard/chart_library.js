"use strict";
/* How lightweight-charts 5.2 keeps the points of a series, with its sharp edges: a historical update takes the place of the
   next point where the series has none at that time, and throws where no series has one, and where the bars of the series
   may be shown together. */
globalThis.window = globalThis;
globalThis.dash_tvlwc = {};
const whitespace = (point) => point.value === undefined && point.open === undefined;

globalThis.Library = class {
  set(series) {
    const kept = new Map();
    this.times = new Set();
    for (const {id, data, options} of series) {
      data.forEach((point) => this.times.add(point.time));
      const merged = options.conflationThresholdFactor !== 0;
      kept.set(id, {merged, points: data.filter((point) => !whitespace(point)), end: data.length ? data[data.length - 1].time : undefined});
    }
    this.kept = kept;
  }

  tick({id, bar, historicalUpdate}) {
    const series = this.kept.get(id);
    if (!series) { throw new Error(`unknown series ${id}`); }
    if (!historicalUpdate && series.end !== undefined && bar.time < series.end) { throw new Error(`older than the last: ${id}`); }
    if (historicalUpdate && series.merged) { throw new Error(`shown together: ${id}`); }
    if (historicalUpdate && !this.times.has(bar.time)) { throw new Error(`no such time: ${id}`); }
    this.times.add(bar.time);
    const {points} = series;
    if (historicalUpdate) {
      const place = points.findIndex((point) => point.time >= bar.time);
      const at = place < 0 ? points.length : place;
      if (whitespace(bar)) { points.splice(at, 1); } else { points[at] = bar; }
      return;
    }
    const last = points[points.length - 1];
    if (!last || bar.time > last.time) { if (!whitespace(bar)) { points.push(bar); } }
    else if (whitespace(bar)) { points.pop(); } else { points[points.length - 1] = bar; }
    series.end = bar.time;
  }

  /* What is seen of a series and its twin: time -> point. Points of both are an error where they would be drawn twice. */
  seen(id, once) {
    const found = {};
    for (const name of [id, `${id}:live`]) {
      for (const point of (this.kept.get(name) || {points: []}).points) {
        if (once && found[point.time]) { throw new Error(`${id} is drawn twice at ${point.time}`); }
        found[point.time] = point;
      }
    }
    return found;
  }
};

/* The chart that follows messages, against one that is made of all of them at once. */
globalThis.follow = (payload, style, groups, steps) => {
  const {Model} = tickstreamChart;
  const model = new Model(payload);
  const library = new Library();
  library.set(model.series(style, groups));
  const written = {ticks: 0, all: 0};
  for (const messages of steps) {
    for (const {channel, data} of messages) { if (channel === "bars") { model.bar(data); } else { model.indicators(data); } }
    const ticks = model.ticks();
    if (ticks === null) { written.all += 1; library.set(model.series(style, groups)); continue; }
    written.ticks += ticks.length;
    ticks.forEach((tick) => library.tick(tick));
  }
  const newest = (points) => Object.values(points).pop();
  const seen = () => Object.fromEntries(style.series.filter((spec) => spec.kind !== "zone" && (!spec.group || groups.includes(spec.group)))
    .map((spec) => [spec.id, library.seen(spec.id, ["candles", "volume", "histogram"].includes(spec.kind))])
    .map(([id, points]) => [id, id === "last" ? newest(points) : points]));
  const followed = seen();
  library.set(model.series(style, groups));
  const rows = model.rows.map(({time, state, rev, close, afterBreak}) => ({time, state, rev, close, afterBreak}));
  return {followed, afresh: seen(), rows, written, decimals: model.decimals, settled: model.settled};
};
