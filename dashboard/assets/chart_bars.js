"use strict";
/* A row of the chart page: one slot of the axis, from the server's columns or from a message; and what the series show of
   it. */
(() => {
  const [FORMING, FINAL, AMENDED, NO_TRADE] = [0, 1, 2, 3];
  const STATES = {forming: FORMING, final: FINAL, amended: AMENDED};
  const MERGED_PX = 2;   // bars are shown together up to this width
  const STRETCH = 64;    // slots of which it is asked how many have a bar
  const SPARSE = 0.1;    // the share of stretches that may be sparser than the one that decides
  const FIELDS = ["time", "state", "open", "high", "low", "close", "volume", "trade_count", "rev"];

  function rowsOf(payload, names) {
    const {columns, reasons} = payload;
    return columns.time.map((time, place) => {
      const values = {};
      for (const name of names) { values[name] = columns[name][place]; }
      const row = {values, valuesRev: columns.rev[place], reason: reasons[time] || null, afterBreak: false};
      for (const name of FIELDS) { row[name] = columns[name][place]; }
      return row;
    });
  }

  function emptyRow(time) {
    return {time, state: NO_TRADE, open: null, high: null, low: null, close: null, volume: null, trade_count: 0, rev: 0,
            reason: null, values: {}, valuesRev: 0, afterBreak: false};
  }

  const number = (text) => (text === null || text === undefined ? null : Number(text));

  function amounts(data) {
    return {open: number(data.open), high: number(data.high), low: number(data.low), close: number(data.close),
            volume: number(data.volume)};
  }

  /* How many decimals the prices of a message need; its text has trailing zeros. */
  function decimalsOf(data) {
    const needed = [data.open, data.high, data.low, data.close].map((text) => {
      const found = /\.(\d*?)0*$/.exec(String(text ?? ""));
      return found ? found[1].length : 0;
    });
    return Math.max(...needed);
  }

  /* One point of a series for one row; null where it has none. `next` is the row after it. */
  const POINTS = {
    candles: (row) => (row.open === null ? {time: row.time}
      : {time: row.time, open: row.open, high: row.high, low: row.low, close: row.close}),
    volume: (row, spec) => (row.volume === null || row.state === NO_TRADE ? null
      : column(row.time, row.volume, spec.colours[Number(row.close >= row.open)])),
    line: (row, spec, next) => lined(row.time, row.values[spec.column] ?? null, leaps(next) ? spec.bridge : null),
    histogram: ({time, values}, spec) => ((values[spec.column] ?? null) === null ? null
      : column(time, values[spec.column], spec.colours[Number(values[spec.column] >= 0)])),
    gaps: (row, spec) => (row.state === NO_TRADE || row.afterBreak
      ? {time: row.time, value: 1, color: spec.colours[Number(row.afterBreak)]} : null),
    zone: (row, spec) => ({time: row.time, value: spec.value}),
    last: (row, spec) => (row.close === null ? null
      : {time: row.time, value: row.close, color: spec.colours[Number(row.close >= row.open)]}),
  };

  /* Whether what follows a bar is no bar of the next slot: a line only connects from there to the next bar. */
  const leaps = (next) => next !== undefined && (next.state === NO_TRADE || next.afterBreak);

  /* The colour of a point is that of the line from there on. */
  function lined(time, value, color) {
    if (value === null) { return null; }
    return color === null ? {time, value} : {time, value, color};
  }

  const column = (time, value, color) => (
    {time, open: 0, high: Math.max(0, value), low: Math.min(0, value), close: value, color, wickColor: color});

  /* Up to which width, in pixels, bars are shown together. The library joins neighbours, however far apart they are, so
     it is less where many slots have no bar. */
  function merging(rows) {
    const shares = [];
    for (let from = 0; from < rows.length; from += STRETCH) {
      const stretch = rows.slice(from, from + STRETCH);
      shares.push(stretch.filter((row) => row.close !== null).length / stretch.length);
    }
    shares.sort((one, other) => one - other);
    return MERGED_PX * (shares[Math.floor(SPARSE * shares.length)] ?? 1);
  }

  window.tickstreamChart = Object.assign(window.tickstreamChart || {}, {
    bars: {FIELDS, FORMING, FINAL, AMENDED, NO_TRADE, POINTS, STATES, amounts, decimalsOf, emptyRow, merging,
           rowsOf},
  });
})();
