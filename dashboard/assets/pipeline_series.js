"use strict";
/* What the pipeline page remembers and how it writes numbers: globalThis.tickstreamPipeline. No DOM. */
(() => {
  const MOST_POINTS = 450;        // 15 minutes at a push each 2 s
  const SPAN_MS = 15 * 60e3;
  const HOLE_MS = 10e3;           // no push for so long: the line is broken
  const RATE_MS = 10e3;
  const SLACK_MS = 1500;          // pushes are a little more than 2 s apart
  const SKEW_MS = 1;              // stamps of one machine differ by less

  /* The last 15 minutes of every series: {at: [ms], value: [number or null]}. */
  class Lines {
    constructor() { this.lines = new Map(); }

    get(series) { return this.lines.get(series) || {at: [], value: []}; }

    extend(series, at, value) {
      if (!this.lines.has(series)) { this.lines.set(series, {at: [], value: []}); }
      const line = this.lines.get(series);
      const last = line.at[line.at.length - 1];
      if (last !== undefined && at <= last) { return; }
      if (last !== undefined && at - last > HOLE_MS) { append(line, last + 1, null); }
      append(line, at, value === undefined ? null : value);
      while (line.at.length > MOST_POINTS || line.at[0] < at - SPAN_MS) { line.at.shift(); line.value.shift(); }
    }
  }

  function append(line, at, value) {
    line.at.push(at);
    line.value.push(value);
  }

  /* Records a second, over about ten seconds, of counters that only grow. */
  class Rates {
    constructor() { this.counted = []; }

    /* By counter; null of the first reading, which is also the one after a topic was made anew. */
    take(at, counters) {
      const fell = (before) => Object.keys(counters).some((name) => counters[name] < before[name]);
      const anew = this.counted.some((each) => fell(each.counters));
      this.counted = anew ? [] : this.counted.filter((each) => at - each.at <= RATE_MS + SLACK_MS && each.at < at);
      this.counted.push({at, counters});
      const first = this.counted[0];
      const seconds = (at - first.at) / 1000;
      const found = {};
      for (const [name, count] of Object.entries(counters)) {
        const moved = count - first.counters[name];
        found[name] = seconds > 0 && moved >= 0 ? moved / seconds : null;  // a counter that is new has no number yet
      }
      return found;
    }
  }

  /* An SVG path in a box of 100 by 26, from 0 at the bottom to the largest value (1 at least) at the top. */
  function path(line) {
    const high = Math.max(1, ...line.value.filter((value) => value !== null));
    const [from, to] = [line.at[0], line.at[line.at.length - 1]];
    let pen = "M";
    return line.value.map((value, place) => {
      if (value === null) { pen = "M"; return ""; }
      const x = to > from ? 100 * (line.at[place] - from) / (to - from) : 100;
      const point = `${pen}${x.toFixed(1)} ${(24 - 22 * Math.max(0, value) / high).toFixed(1)}`;
      pen = "L";
      return point;
    }).join("");
  }

  /* A message cannot arrive before it was sent: then the clocks differ. The other way round it looks like delay. */
  function skew(stage) {
    if (!stage || !stage.count || stage.p50 > -SKEW_MS) { return ""; }
    return `This machine's clock is at least ${millis(-stage.p50)} behind the server's: “socket → browser” and the `
      + "total are too small by that much.";
  }

  function millis(value) {
    if (value === null || value === undefined) { return "–"; }
    if (Math.abs(value) >= 1000) { return `${(value / 1000).toFixed(1)} s`; }
    return `${value.toFixed(Math.abs(value) < 10 ? 1 : 0)} ms`;
  }

  function perSecond(value) {
    if (value >= 100) { return `${Math.round(value).toLocaleString("en")}/s`; }
    return value === 0 ? "0/s" : `${value.toFixed(value >= 1 ? 1 : 2)}/s`;
  }

  globalThis.tickstreamPipeline = {Lines, Rates, path, skew, millis, perSecond, MOST_POINTS};
})();
