"use strict";
/* The bars of the chart page, and the points of its series. No DOM, no Dash.

   A series of the library is filled again as a whole whenever one of its points changes: 13 series of 10,000 bars cost
   about 50 ms for each tick. So each has a twin, `id:live`, that holds the bars from the last settled one on: ticks touch
   the twins alone, and a bar moves to the big series when it is final.

   The library shows the bars of a big series together where they are narrower than pixels (`merging`). It then takes no change
   of its past; that series is filled again. */
(() => {
  const {bars} = window.tickstreamChart;
  const {FIELDS, FORMING, AMENDED, NO_TRADE, POINTS, STATES, amounts, decimalsOf, emptyRow, merging, rowsOf} = bars;
  const MOST_LIVE = 300;      // bars in the twins before they are made short again
  const [RSI_PANE, MACD_PANE] = [2, 3];
  const SEPARATE = {conflationThresholdFactor: 0};  // a series whose bars are never shown together

  const DRAWN_TWICE = new Set(["candles", "volume", "histogram"]);  // half transparent: never in both twins

  class Model {
    constructor(payload) {
      this.seconds = payload.seconds;
      this.breakSeconds = payload.breakSeconds;
      this.decimals = payload.decimals;
      this.columns = Object.keys(payload.columns).filter((name) => !FIELDS.includes(name));
      this.rows = rowsOf(payload, this.columns);
      this.stale = true;         // the series have to be filled again
      this.marked = false;       // markers have to be set again
      this.dirty = new Set();    // times of rows whose points changed
      this.specs = [];
      this.number();
    }

    number() {
      this.places = new Map(this.rows.map((row, place) => [row.time, place]));
      this.rows.forEach((row, place) => {
        row.afterBreak = place > 0 && row.time - this.rows[place - 1].time >= this.breakSeconds;
      });
    }

    get newest() { return this.rows[this.rows.length - 1]; }

    /* The newest row with a price; undefined of an empty chart. */
    get last() {
      let place = this.rows.length - 1;
      while (place > 0 && this.rows[place].close === null) { place -= 1; }
      return this.rows[place];
    }

    /* The bar before a row; undefined for none. */
    before(row) { return this.rows[this.pricedBefore(this.places.get(row.time))]; }

    /* The place of the bar before a place, negative for none. */
    pricedBefore(place) {
      let found = place - 1;
      while (found >= 0 && this.rows[found].close === null) { found -= 1; }
      return found;
    }

    /* Older bars in front; how many slots they are. */
    prepend(payload) {
      const first = this.rows.length ? this.rows[0].time : Infinity;
      const older = rowsOf(payload, this.columns).filter((row) => row.time < first);
      this.rows = older.concat(this.rows);
      this.decimals = Math.max(this.decimals, payload.decimals);
      this.stale = true;
      this.number();
      return older.length;
    }

    /* The same chart read again: what is newer there counts, whatever was loaded before stays. */
    merge(payload) {
      const found = new Map(this.rows.map((row) => [row.time, row]));
      for (const row of rowsOf(payload, this.columns)) {
        const own = found.get(row.time);
        if (!own || row.rev > own.rev || own.state === NO_TRADE) { found.set(row.time, row); }
      }
      this.rows = [...found.values()].sort((one, other) => one.time - other.time);
      this.decimals = Math.max(this.decimals, payload.decimals);
      this.stale = true;
      this.number();
    }

    /* A bar of the API's messages. False if it says nothing new. */
    bar(data) {
      const time = data.start / 1e6;
      let row = this.rows[this.places.get(time)];
      if (row && (data.rev < row.rev || (row.rev > 0 && data.rev === row.rev))) { return false; }
      row = row || this.added(time);
      if (!row) { return false; }
      const state = STATES[data.state];
      this.refill(row, row.state !== NO_TRADE && row.open !== null, data.open !== null);
      Object.assign(row, amounts(data), {state, rev: data.rev, trade_count: data.trade_count, reason: data.reason});
      const decimals = decimalsOf(data);
      if (decimals > this.decimals) { [this.decimals, this.stale] = [decimals, true]; }
      this.marked = this.marked || state === AMENDED;
      this.dirty.add(time);
      return true;
    }

    /* The library can change a point and add one at the end; for a point that comes or goes elsewhere its series is
       filled again. */
    refill(row, before, after) {
      if (before !== after && (before || row !== this.newest)) { this.stale = true; }
    }

    /* A new row, and the empty slots before it. Nothing for a bar older than all that is shown. */
    added(time) {
      if (this.rows.length === 0 || time > this.newest.time) { return this.appended(time); }
      if (time < this.rows[0].time) { return undefined; }
      const place = this.rows.findIndex((row) => row.time > time);
      this.rows.splice(place, 0, emptyRow(time));
      this.stale = true;
      this.number();
      return this.rows[place];
    }

    appended(time) {
      const previous = this.newest;
      const far = previous === undefined || time - previous.time >= this.breakSeconds;
      if (previous !== undefined && time - previous.time > this.seconds) { this.dirty.add(previous.time); }
      for (let slot = far ? time : previous.time + this.seconds; slot <= time; slot += this.seconds) {
        this.places.set(slot, this.rows.length);
        this.rows.push(emptyRow(slot));
        this.dirty.add(slot);
      }
      this.newest.afterBreak = far && previous !== undefined;
      return this.newest;
    }

    /* Indicators of a bar that is there. False if they say nothing new. */
    indicators(data) {
      const row = this.rows[this.places.get(data.start / 1e6)];
      if (!row || data.rev < row.valuesRev) { return false; }
      row.valuesRev = data.rev;
      const news = this.columns.filter((name) => data.values[name] !== undefined && this.differs(row.values[name] ?? null, data.values[name]));
      for (const name of news) {
        this.refill(row, (row.values[name] ?? null) !== null, data.values[name] !== null);
        row.values[name] = data.values[name];
      }
      if (news.length) { this.dirty.add(row.time); }
      return news.length > 0;
    }

    /* The server has rounded what it brought. */
    differs(one, other) {
      return one === null || other === null ? one !== other : Math.abs(one - other) >= 10 ** -(this.decimals + 2);
    }

    /* Series ------------------------------------------------------------------------------------------------------- */

    choose(style, groups) {
      this.specs = style.series.filter((spec) => !spec.group || groups.includes(spec.group));
    }

    get merging() { return merging(this.rows); }

    /* All series with their data, for the styles of a theme and the groups of lines that are on. */
    series(style, groups) {
      this.choose(style, groups);
      this.settled = this.rows.findIndex((row) => row.state === FORMING);
      if (this.settled < 0) { this.settled = this.rows.length; }
      this.liveFrom = this.pricedBefore(this.settled);
      // Two bars at least: of a line with a single point the library draws a dash.
      if (this.settled === this.rows.length) { this.liveFrom = this.pricedBefore(this.liveFrom); }
      this.ends = new Map();      // id -> time of its newest point
      this.inLive = new Map();    // id of a twin -> times that it shows
      this.stale = false;
      this.marked = false;
      this.dirty.clear();
      this.made = this.specs.flatMap((spec) => this.pair(spec, style));
      return this.made;
    }

    pair(spec, style) {
      const options = {...spec.options, ...this.priceFormat(spec)};
      const own = {id: spec.id, type: spec.type, pane: spec.pane, options, data: this.data(spec, 0, this.settled)};
      for (const name of ["priceScaleOptions", "priceLines"]) { if (spec[name]) { own[name] = spec[name]; } }
      if (spec.kind === "candles") { own.markers = this.markers(style); }
      this.ends.set(own.id, endOf(own.data));
      if (!spec.live) {
        Object.assign(options, SEPARATE, spec.kind === "zone" ? always(spec.value) : {});
        return [own];
      }
      const from = DRAWN_TWICE.has(spec.kind) ? this.settled : this.liveFrom;
      const live = {id: `${spec.id}:live`, type: spec.type, pane: spec.pane, options: {...options, ...spec.live, ...SEPARATE},
                    data: this.data(spec, Math.max(0, from), this.rows.length)};
      this.ends.set(live.id, endOf(live.data));
      this.inLive.set(live.id, new Set(live.data.filter(drawn).map((point) => point.time)));
      return [own, live];
    }

    data(spec, from, to) {
      const make = POINTS[spec.kind];
      if (spec.kind === "zone") { return ends(this.rows).map((row) => make(row, spec)); }
      if (spec.kind === "last") { return this.last && this.last.close !== null ? [make(this.last, spec)] : []; }
      const points = [];
      for (let place = from; place < to; place += 1) {
        const point = make(this.rows[place], spec, this.rows[place + 1]);
        if (point !== null) { points.push(point); }
      }
      return points;
    }

    priceFormat(spec) {
      if (spec.kind === "volume" || spec.kind === "gaps") { return {}; }
      const precision = this.precision(spec.pane);
      return {priceFormat: {type: "price", precision, minMove: 10 ** -precision}};
    }

    /* Decimals of a pane's scale: a MACD is a difference of prices, small where they are. */
    precision(pane) {
      if (pane === RSI_PANE) { return 1; }
      return pane === MACD_PANE ? this.decimals + (this.decimals > 4 ? 2 : 1) : this.decimals;
    }

    markers(style) {
      return this.rows.filter((row) => row.state === AMENDED).map((row) => (
        {time: row.time, position: "aboveBar", shape: "circle", color: style.colours.amended, size: 0.7}));
    }

    /* The same series with the markers of now. */
    remarked(style) {
      this.marked = false;
      this.made = this.made.map((each) => (each.markers ? {...each, markers: this.markers(style)} : each));
      return this.made;
    }

    /* What changed since the last time, as ticks; null if the series have to be filled again. */
    ticks() {
      if (this.stale || this.rows.length - this.liveFrom > MOST_LIVE) { return null; }
      const found = [];
      const places = [...this.dirty].map((time) => this.places.get(time)).sort((one, other) => one - other);
      this.dirty.clear();
      for (const place of places) { this.changed(found, place); }
      if (places.length) { this.settle(found); this.trail(found); }
      return this.stale ? null : found;
    }

    changed(found, place) {
      const row = this.rows[place];
      if (place < this.settled && row.open === null) { return; }  // the library would take away the point after it
      for (const spec of this.specs) {
        if (spec.kind === "zone" || spec.kind === "last") { continue; }
        if (place < this.settled) { this.past(found, spec, row, this.rows[place + 1]); }
        const doubled = place < this.settled && DRAWN_TWICE.has(spec.kind);
        if (spec.live && place >= this.liveFrom && !doubled) { this.liveTick(found, spec, row, this.rows[place + 1]); }
      }
    }

    /* A bar of a big series. Its newest one can be changed, and its past only where bars are never shown together. */
    past(found, spec, row, next) {
      const point = POINTS[spec.kind](row, spec, next);
      if (point !== null && spec.live && point.time < this.ends.get(spec.id)) { this.stale = true; }
      this.tick(found, spec.id, point);
    }

    liveTick(found, spec, row, next) {
      const id = `${spec.id}:live`;
      const point = POINTS[spec.kind](row, spec, next);
      if (point !== null && drawn(point)) { this.inLive.get(id).add(row.time); }
      this.tick(found, id, point);
    }

    /* Bars that are closed move to the big series, in order. */
    settle(found) {
      while (this.settled < this.rows.length && this.rows[this.settled].state !== FORMING) {
        const row = this.rows[this.settled++];
        const next = this.rows[this.settled];
        for (const spec of this.specs) {
          if (spec.kind === "zone" || spec.kind === "last") { continue; }
          this.tick(found, spec.id, POINTS[spec.kind](row, spec, next));
          const live = this.inLive.get(`${spec.id}:live`);
          if (live && DRAWN_TWICE.has(spec.kind) && live.delete(row.time)) {
            this.tick(found, `${spec.id}:live`, {time: row.time});
          }
        }
      }
    }

    /* The series that end where the bars end. */
    trail(found) {
      for (const spec of this.specs) {
        const row = spec.kind === "zone" ? this.newest : spec.kind === "last" ? this.last : null;
        if (row) { this.tick(found, spec.id, POINTS[spec.kind](row, spec)); }
      }
    }

    tick(found, id, point) {
      if (point === null) { return; }
      const end = this.ends.get(id);
      const tick = {id, bar: point};
      if (end !== undefined && point.time < end) { tick.historicalUpdate = true; }
      else { this.ends.set(id, point.time); }
      found.push(tick);
    }
  }

  /* Whatever else is in sight, the scale reaches a value. */
  const always = (value) => ({autoscaleInfoProvider: () => ({priceRange: {minValue: value, maxValue: value}})});
  const drawn = (point) => point.value !== undefined || point.open !== undefined;
  const endOf = (points) => (points.length ? points[points.length - 1].time : undefined);
  const ends = (rows) => (rows.length > 1 ? [rows[0], rows[rows.length - 1]] : rows);

  window.tickstreamChart = Object.assign(window.tickstreamChart || {},
    {Model});
})();
