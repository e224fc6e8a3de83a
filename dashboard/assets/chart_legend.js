"use strict";
/* The legends of the chart page: what the bar under the pointer, else the newest, says. Text only, no HTML from data. */
(() => {
  const HUMAN = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "K"]];
  const STATE_TEXT = ["forming", "final", "amended", "no bar"];

  /* 1234567 -> "1.23M"; small amounts keep their digits. */
  function human(value) {
    if (value === null || value === undefined) { return "–"; }
    const [unit, letter] = HUMAN.find(([size]) => Math.abs(value) >= size) || [1, ""];
    const digits = unit === 1 ? (Number.isInteger(value) ? 0 : Math.abs(value) >= 100 ? 1 : 4) : 2;
    return (value / unit).toFixed(digits) + letter;
  }

  const price = (value, decimals) => (value === null || value === undefined ? "–" : value.toFixed(decimals));
  const signed = (value, decimals) => (value > 0 ? "+" : "") + value.toFixed(decimals);

  function clock(time, seconds) {
    const from = new Date(time * 1000).toISOString();
    const to = new Date((time + seconds) * 1000).toISOString();
    return `${from.slice(0, 10)} ${from.slice(11, 16)}–${to.slice(11, 16)} UTC`;
  }

  /* 5400 -> "1 h 30 min" */
  function duration(seconds) {
    const minutes = Math.round(seconds / 60);
    const [days, hours] = [Math.floor(minutes / 1440), Math.floor(minutes / 60) % 24];
    const parts = [[days, "d"], [hours, "h"], [minutes % 60, "min"]].filter(([count]) => count > 0).slice(0, 2);
    return parts.map(([count, unit]) => `${count} ${unit}`).join(" ");
  }

  function piece(text, name = "", style = "") {
    const node = document.createElement("span");
    node.textContent = text;
    if (name) { node.className = name; }
    if (style) { node.style.color = style; }
    return node;
  }

  function pair(label, text, colour) {
    const node = piece("", "chart-pair");
    node.append(piece(label, "chart-label", colour), piece(text, "chart-number", colour));
    return node;
  }

  /* The first line: the bar. */
  function barLine(model, row, names) {
    const decimals = model.decimals;
    const slot = piece(clock(row.time, model.seconds), "chart-time");
    const line = [piece(names.symbol, "chart-name"), piece(names.interval), slot];
    if (row.close === null) { return line.concat(state(model, row)); }
    const direction = row.close >= row.open ? "up" : "down";
    for (const [label, field] of [["O", "open"], ["H", "high"], ["L", "low"], ["C", "close"]]) {
      const shown = pair(label, price(row[field], decimals));
      shown.classList.add(`chart-${direction}`);
      line.push(shown);
    }
    return line.concat(change(model, row), state(model, row));
  }

  /* Against the close before it. */
  function change(model, row) {
    const before = model.before(row);
    if (!before) { return []; }
    const moved = row.close - before.close;
    const text = `${signed(moved, model.decimals)} (${signed(100 * moved / before.close, 2)} %)`;
    return [piece(text, `chart-number chart-${moved >= 0 ? "up" : "down"}`)];
  }

  function state(model, row) {
    const tag = piece(STATE_TEXT[row.state], `chart-state chart-state-${STATE_TEXT[row.state].replace(" ", "-")}`);
    const found = [tag];
    if (row.rev > 0) { found.push(piece(`rev ${row.rev}`, "chart-label")); }
    if (row.reason) { found.push(piece(row.reason, "chart-reason")); }
    const place = model.places.get(row.time);
    if (row.afterBreak && place > 0) {
      const hole = row.time - model.rows[place - 1].time - model.seconds;
      found.push(piece(`after ${duration(hole)} without bars`, "chart-reason"));
    }
    return found;
  }

  /* The lines of one pane, each in its colour. */
  function paneLine(model, row, pane) {
    const specs = model.specs.filter((spec) => spec.pane === pane && spec.label);
    const decimals = model.precision(pane);
    return specs.map((spec) => pair(spec.label, price(row.values[spec.column], decimals), spec.colour));
  }

  function volumeLine(row) {
    return [pair("Volume", human(row.volume)), pair("Trades", human(row.trade_count))];
  }

  /* Whenever a pane is made higher or lower. */
  let observer = null;

  function watch() {
    observer = observer || new ResizeObserver(() => place());
    observer.disconnect();
    for (const row of document.querySelectorAll("#chart table tr")) { observer.observe(row); }
    place();
  }

  /* The top of each pane within the frame: the rows of the chart's own table, separators left out. */
  function paneTops(frame) {
    const rows = [...frame.querySelectorAll("#chart table > tr, #chart table > tbody > tr")];
    const top = frame.getBoundingClientRect().top;
    return rows.map((row) => row.getBoundingClientRect()).filter((box) => box.height > 8).map((box) => box.top - top);
  }

  function place() {
    const frame = document.getElementById("chart-frame");
    const tops = frame && document.getElementById("chart") ? paneTops(frame) : [];
    ["volume", "rsi", "macd"].forEach((name, index) => {
      const node = document.getElementById(`chart-legend-${name}`);
      if (!node) { return; }
      node.hidden = tops.length < index + 2;
      if (!node.hidden) { node.style.top = `${Math.round(tops[index + 1]) + 3}px`; }
    });
  }

  function fill(id, nodes) {
    const node = document.getElementById(id);
    if (node) { node.replaceChildren(...nodes); }
  }

  /* Everything of one row; nothing without one. */
  function show(model, row, names) {
    const parts = row ? [barLine(model, row, names), paneLine(model, row, 0), volumeLine(row),
                         paneLine(model, row, 2), paneLine(model, row, 3)] : [[], [], [], [], []];
    ["bar", "lines", "volume", "rsi", "macd"].forEach((name, index) => fill(`chart-legend-${name}`, parts[index]));
  }

  window.tickstreamChart = Object.assign(window.tickstreamChart || {}, {legend: {show, watch, human, duration, clock}});
})();
