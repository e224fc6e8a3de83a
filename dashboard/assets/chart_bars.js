"use strict";
/* A row of the chart page: one slot of the axis, from the server's columns or from a message. */
(() => {
  const [FORMING, FINAL, AMENDED, NO_TRADE] = [0, 1, 2, 3];
  const STATES = {forming: FORMING, final: FINAL, amended: AMENDED};
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

  window.tickstreamChart = Object.assign(window.tickstreamChart || {}, {
    bars: {FIELDS, FORMING, FINAL, AMENDED, NO_TRADE, STATES, amounts, decimalsOf, emptyRow, rowsOf},
  });
})();
