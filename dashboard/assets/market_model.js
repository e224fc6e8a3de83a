"use strict";
/* A symbol's session as the market page shows it: the API's roll-up of all bars before `until`, and the bars from there
   on, of each its newest revision. A bar that arrives again replaces itself, so nothing is counted twice. Amounts are
   whole numbers of 1e-16, as exact as the API's own. No page, no clock: tests run this file as it is. */
(() => {
  const DIGITS = 16;
  const UNIT = 10n ** BigInt(DIGITS);
  const HUNDRED = 100n;
  const PRICES = ["open", "high", "low", "close"];
  const MOST_DECIMALS = 8;

  /* Numbers ---------------------------------------------------------------------------------------------------------- */

  /* "167.41" -> 1674100000000000000n; null stays null. */
  function exact(text) {
    if (text === null || text === undefined) { return null; }
    const negative = text.startsWith("-");
    const [whole, part = ""] = (negative ? text.slice(1) : text).split(".");
    const value = BigInt(whole) * UNIT + BigInt((part + "0".repeat(DIGITS)).slice(0, DIGITS));
    return negative ? -value : value;
  }

  /* 1674100000000000000n -> "167.41": the shortest exact text. */
  function plain(value) {
    if (value === null) { return null; }
    const size = value < 0n ? -value : value;
    const part = (size % UNIT).toString().padStart(DIGITS, "0").replace(/0+$/, "");
    return `${value < 0n ? "-" : ""}${size / UNIT}${part ? `.${part}` : ""}`;
  }

  const number = (value) => (value === null ? null : Number(plain(value)));

  /* part / whole, rounded half away from zero at so many decimals; null without a whole. */
  function quotient(part, whole, decimals) {
    if (part === null || whole === null || whole === 0n) { return null; }
    const negative = (part < 0n) !== (whole < 0n);
    const [over, under] = [part < 0n ? -part : part, whole < 0n ? -whole : whole];
    const scale = 10n ** BigInt(decimals);
    const rounded = (2n * over * scale + under) / (2n * under);
    const value = rounded * (UNIT / scale);
    return negative ? -value : value;
  }

  /* Bars ------------------------------------------------------------------------------------------------------------- */

  /* A bar of the socket with its amounts made whole; times stay microseconds since the epoch. */
  function barOf(data) {
    const bar = {start: data.start, rev: data.rev, offset: data.last_offset ?? -1, close_us: data.close_us ?? null,
                 trades: data.trade_count};
    for (const name of PRICES) { bar[name] = exact(data[name]); }
    bar.volume = exact(data.volume);
    bar.notional = exact(data.notional);
    return bar;
  }

  /* As the stores compare two rows of one start. */
  function newer(bar, held) {
    return held === undefined || bar.rev > held.rev || (bar.rev === held.rev && bar.offset >= held.offset);
  }

  const micros = (text) => (text === null || text === undefined ? null
    : Date.parse(`${text.slice(0, 19)}Z`) * 1000 + Number((text.slice(20, 26).replace("Z", "") || "0").padEnd(6, "0")));

  /* A row of the overview, asked for with `apart`. */
  function baseOf(row) {
    const base = {session: row.session, start: micros(row.session_start), end: micros(row.session_end),
                  until: micros(row.until), close_us: micros(row.price_at), trades: row.trade_count,
                  prior: exact(row.prior_close), close: exact(row.price), closes: row.closes.map(exact),
                  points: row.closes.length};
    for (const name of ["open", "high", "low", "volume", "notional"]) { base[name] = exact(row[name]); }
    return base;
  }

  const most = (pick, one, other) => {
    if (one === null || other === null) { return one === null ? other : one; }
    return (pick > 0) === (one > other) ? one : other;
  };

  /* Rows ------------------------------------------------------------------------------------------------------------- */

  /* One symbol. `take` says whether the row moved, or that the API must be asked again for what lies behind `until`. */
  class Standing {
    constructor(row, points) {
      this.symbol = row.symbol;
      this.points = points;
      this.bars = new Map();
      this.base = baseOf(row);
      this.seen = baseDecimals(row);
    }

    /* What the API says now; bars behind its `until` are in it. An answer that is older than what is known is dropped. */
    rebase(row) {
      const base = baseOf(row);
      if (this.base.until !== null && (base.until === null || base.until < this.base.until)) { return false; }
      this.base = base;
      this.seen = Math.max(this.seen, baseDecimals(row));
      for (const start of [...this.bars.keys()]) { if (start < base.until) { this.bars.delete(start); } }
      return true;
    }

    /* "moved", "same", or "ask": the bar is part of what the API has rolled up, or of another session. */
    take(data) {
      const {until, end} = this.base;
      if (until === null || data.start < until) { return "ask"; }
      const bar = barOf(data);
      if (!newer(bar, this.bars.get(bar.start))) { return "same"; }
      this.bars.set(bar.start, bar);
      return end !== null && bar.start >= end ? "ask" : "moved";
    }

    /* The bars of this session that came after the roll-up, ascending. */
    fresh() {
      const {until, end} = this.base;
      return [...this.bars.values()].filter((bar) => bar.start >= until && (end === null || bar.start < end))
        .sort((one, other) => one.start - other.start);
    }

    /* Amounts of the session so far; null for what is not known. */
    sums() {
      const sum = {...this.base, closes: [...this.base.closes]};
      for (const bar of this.fresh()) {
        sum.open = sum.open === null ? bar.open : sum.open;
        sum.high = most(1, sum.high, bar.high);
        sum.low = most(-1, sum.low, bar.low);
        sum.volume += bar.volume;
        sum.notional += bar.notional;
        sum.trades += bar.trades;
        sum.close_us = most(1, sum.close_us, bar.close_us);
        if (bar.close !== null) { sum.close = bar.close; sum.closes.push(bar.close); }
      }
      sum.closes = this.points ? sum.closes.slice(-this.points) : [];
      return sum;
    }

    /* As the API's overview writes the row. */
    exact() {
      const sum = this.sums();
      const change = sum.close === null || sum.prior === null ? null : sum.close - sum.prior;
      return {price: plain(sum.close), prior_close: plain(sum.prior), change: plain(change),
              change_percent: plain(percent(change, sum.prior)), open: plain(sum.open), high: plain(sum.high),
              low: plain(sum.low), volume: plain(sum.volume), notional: plain(sum.notional),
              vwap: plain(quotient(sum.notional, sum.volume, 8)), trade_count: sum.trades,
              closes: sum.closes.map(plain), price_us: sum.close_us};
    }

    /* The row of the grid: numbers to sort and draw by. Without a close before the session, change is since its open. */
    shown() {
      const sum = this.sums();
      const from = sum.prior ?? sum.open;
      const change = sum.close === null || from === null ? null : sum.close - from;
      const vwap = quotient(sum.notional, sum.volume, 8);
      const away = vwap === null || sum.close === null ? null : percent(sum.close - vwap, vwap);
      return {symbol: this.symbol, price: number(sum.close), price_us: sum.close_us, prior_close: number(sum.prior),
              since: sum.prior === null ? "open" : "prior", change: number(change),
              change_percent: number(percent(change, from)), open: number(sum.open), high: number(sum.high),
              low: number(sum.low), volume: number(sum.volume), notional: number(sum.notional), vwap: number(vwap),
              vwap_distance: number(away), trade_count: sum.trades, closes: sum.closes.map(number),
              decimals: this.decimals()};
    }

    /* How many decimals its prices have: at least two, as many as have been seen. */
    decimals() { return Math.min(MOST_DECIMALS, Math.max(2, this.seen)); }
  }

  const percent = (part, whole) => quotient(part === null ? null : part * HUNDRED, whole, 4);

  function baseDecimals(row) {
    const texts = [row.price, row.open, row.high, row.low, row.prior_close, ...row.closes.slice(-10)];
    return Math.max(0, ...texts.filter((text) => text).map((text) => (text.split(".")[1] ?? "").length));
  }

  /* "ok", "slow" or "stale" by the seconds since the last trade; a quarter of the API's limit is slow. */
  function freshness(seconds, staleAfter) {
    if (seconds === null || seconds > staleAfter) { return "stale"; }
    return seconds > staleAfter / 4 ? "slow" : "ok";
  }

  /* For people -------------------------------------------------------------------------------------------------------- */

  const NONE = "–";

  function price(value, decimals) {
    return value === null || value === undefined ? NONE
      : value.toLocaleString("en-US", {minimumFractionDigits: decimals, maximumFractionDigits: decimals});
  }

  function signed(value, decimals, unit = "") {
    if (value === null || value === undefined) { return NONE; }
    const size = price(Math.abs(value), decimals);
    const zero = !/[1-9]/.test(size);
    return `${zero ? "" : value > 0 ? "+" : "−"}${size}${unit}`;
  }

  /* 31249199 -> "31.2 M". */
  function short(value) {
    if (value === null || value === undefined) { return NONE; }
    const step = [[1e12, " T"], [1e9, " B"], [1e6, " M"], [1e3, " k"]].find(([size]) => Math.abs(value) >= size * 0.9995);
    const [size, unit] = step ?? [1, ""];
    const scaled = value / size;
    const digits = step ? Math.max(0, 2 - Math.floor(Math.log10(Math.max(1, Math.abs(scaled))))) : (scaled % 1 ? 2 : 0);
    return `${scaled.toLocaleString("en-US", {minimumFractionDigits: step ? digits : 0, maximumFractionDigits: digits})}${unit}`;
  }

  /* 75.2 -> "1 min"; below ten seconds with a decimal. */
  function age(seconds) {
    if (seconds === null) { return NONE; }
    if (seconds < 10) { return `${seconds.toFixed(1)} s`; }
    if (seconds < 120) { return `${Math.floor(seconds)} s`; }
    if (seconds < 7200) { return `${Math.floor(seconds / 60)} min`; }
    return seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
  }

  /* The points of a sparkline of closes in a box, as an SVG path; the first and last lie on its edges. */
  function sparkline(closes, width, height) {
    if (closes.length < 2) { return ""; }
    const [low, high] = [Math.min(...closes), Math.max(...closes)];
    const at = (close) => (high === low ? height / 2 : height - 2 - (close - low) / (high - low) * (height - 4));
    const step = width / (closes.length - 1);
    return closes.map((close, place) => `${place ? "L" : "M"}${(place * step).toFixed(1)},${at(close).toFixed(1)}`).join("");
  }

  globalThis.tickstreamMarket = {Standing, exact, plain, quotient, freshness, sparkline, micros,
                                 format: {price, signed, short, age, NONE}};
})();
