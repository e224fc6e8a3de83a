"use strict";
/* Subscriptions to the API's streams, shared by everything on the page.

   tickstream.subscribe({channel, symbols, interval, snapshot}, {snapshot, update, error}) -> {close()}

   The handlers get the API's own messages (docs/websocket.md). A snapshot may repeat bars: for one `start`, the highest
   `rev` counts. `mode` says why it came: `fresh` is what was asked for, anything else adds to what is there. After a
   break, all that was missed comes as snapshots, so handlers need no case of their own for it. An error with
   `retry_after` is told and tried again here. */
(() => {
  const {wire} = window.tickstream;
  const {guarded, send} = wire;
  const MOST_SYMBOLS = 100;     // in one message
  const FORMING = "forming";
  const EVENTS = ["ticks", "predictions", "anomalies"];  // streams of a symbol, whatever the interval

  const streams = new Map();    // key -> {key, channel, symbol, interval, seq, final, broken, parties: Set}
  const parties = new Map();    // id of a subscription -> {id, channel, interval, snapshot, symbols, waiting, handlers}
  const repairs = new Map();    // id of a subscription that resumes -> Set of the streams that it is for
  let nextId = 1;
  let again = null;             // timer

  const keyOf = (of) => `${of.channel}|${of.symbol}|${of.interval || ""}`;

  function chunks(list) {
    const parts = [];
    for (let at = 0; at < list.length; at += MOST_SYMBOLS) { parts.push(list.slice(at, at + MOST_SYMBOLS)); }
    return parts;
  }

  function say(type, of, symbols, more = {}) {
    const message = {type, channel: of.channel, symbols, ...more};
    if (of.interval) { message.interval = of.interval; }
    send(message);
  }

  /* Coming and going ------------------------------------------------------------------------------------------- */

  function subscribe(wanted, handlers) {
    const {channel, interval = "1m", snapshot = 1} = wanted;
    const symbols = [...new Set(wanted.symbols)];
    const party = {id: `s${nextId++}`, channel, interval: EVENTS.includes(channel) ? "" : interval, snapshot, symbols,
                   waiting: new Set(symbols), handlers};
    parties.set(party.id, party);
    symbols.forEach((symbol) => join(party, symbol));
    ask(party);
    return {close: () => leave(party)};
  }

  function join(party, symbol) {
    const stream = {channel: party.channel, symbol, interval: party.interval, seq: null, final: null, broken: false,
                    parties: new Set()};
    const key = keyOf(stream);
    if (!streams.has(key)) { streams.set(key, stream); }
    streams.get(key).parties.add(party);
  }

  function ask(party) {
    if (wire.session() === null) { return; }
    for (const some of chunks([...party.waiting])) {
      say("subscribe", party, some, {id: party.id, snapshot: party.snapshot});
    }
  }

  function leave(party) {
    if (!parties.delete(party.id)) { return; }
    const idle = [];
    for (const symbol of party.symbols) {
      const key = keyOf({...party, symbol});
      const stream = streams.get(key);
      stream.parties.delete(party);
      if (stream.parties.size === 0) { streams.delete(key); idle.push(symbol); }
    }
    if (wire.session() === null) { return; }
    for (const some of chunks(idle)) { say("unsubscribe", party, some); }
  }

  /* After a break ---------------------------------------------------------------------------------------------- */

  /* The API knows of none of our streams: all of them again, each from where it was. */
  function restore() {
    repairs.clear();
    for (const stream of streams.values()) { stream.broken = stream.seq !== null; }
    mend();
  }

  function mend() {
    clearTimeout(again);
    again = null;
    const groups = new Map();
    for (const stream of streams.values()) {
      if (!stream.broken) { continue; }
      const name = `${stream.channel}|${stream.interval}`;
      groups.set(name, [...(groups.get(name) || []), stream]);
    }
    for (const group of groups.values()) { chunks(group).forEach(resume); }
    for (const party of parties.values()) { ask(party); }
  }

  function resume(some) {
    const id = `r${nextId++}`;
    const more = {id, snapshot: Math.max(...some.flatMap(({parties: all}) => [...all].map((party) => party.snapshot)))};
    const finals = some.filter((stream) => stream.final !== null);
    more.resume = Object.fromEntries(some.map((stream) => [stream.symbol, stream.seq]));
    if (finals.length) { more.since = Object.fromEntries(finals.map((stream) => [stream.symbol, stream.final])); }
    for (const stream of some) { stream.broken = true; }
    repairs.set(id, new Set(some));
    say("subscribe", some[0], some.map((stream) => stream.symbol), more);
  }

  /* What the API says ------------------------------------------------------------------------------------------ */

  function hearSnapshot(message) {
    const stream = streams.get(keyOf(message));
    if (!stream) { return; }
    stream.seq = message.seq;
    stream.broken = message.more === true;
    message.data.forEach((bar) => note(stream, bar.state, bar));
    const asked = parties.get(message.id);
    if (asked && !stream.broken) { asked.waiting.delete(stream.symbol); }
    if (!stream.broken) { repaired(message.id, stream); }
    for (const party of [...stream.parties]) { show(party, asked, stream, message); }
  }

  /* What one asked for also brings the others on: the API forgets what still waited for them. */
  function show(party, asked, stream, message) {
    if (party === asked || (!asked && !party.waiting.has(stream.symbol))) {
      guarded(party.handlers.snapshot, message);
    } else if (!party.waiting.has(stream.symbol)) {
      guarded(party.handlers.snapshot, {...message, mode: "resume"});
    }
  }

  function repaired(id, stream) {
    const repair = repairs.get(id);
    if (repair && repair.delete(stream) && repair.size === 0) { repairs.delete(id); }
  }

  function hearUpdate(message) {
    const stream = streams.get(keyOf(message));
    if (!stream || stream.broken || stream.seq === null) { return; }
    if (message.prev_seq !== stream.seq) { resume([stream]); return; }
    stream.seq = message.seq;
    note(stream, message.state, message.data);
    for (const party of [...stream.parties]) {
      if (!party.waiting.has(stream.symbol)) { guarded(party.handlers.update, message); }
    }
  }

  /* From the last final bar on, the API can say what was missed, however long ago it was. */
  function note(stream, barState, bar) {
    if (stream.interval && bar.rev > 0 && barState !== FORMING && bar.start > (stream.final || 0)) { stream.final = bar.start; }
  }

  function hearError(message) {
    const repair = repairs.get(message.id);
    if (message.retry_after) {
      again = again || setTimeout(mend, 1000 * message.retry_after);
    } else if (repair && message.code === "since_too_old") {
      begin(message.id, repair);
      return;
    } else if (repair && repair.size > 1) {  // all or none: without the one that is wrong, the others go on
      repairs.delete(message.id);
      repair.forEach((stream) => resume([stream]));
      return;
    }
    for (const party of concerned(message, repair)) { guarded(party.handlers.error, message); }
  }

  /* Away for longer than the API looks back: what is shown first comes anew. All in one, for it counts refusals. */
  function begin(id, repair) {
    repairs.delete(id);
    const left = [...repair].filter((stream) => stream.parties.size > 0);
    for (const stream of left) { stream.final = null; }
    if (left.length) { resume(left); }
  }

  function concerned(message, repair) {
    const asked = parties.get(message.id);
    if (asked) { return [asked]; }
    return repair ? new Set([...repair].flatMap((stream) => [...stream.parties])) : [];
  }

  wire.on("snapshot", hearSnapshot);
  wire.on("update", hearUpdate);
  wire.on("error", hearError);
  wire.on("session", restore);
  window.tickstream.subscribe = subscribe;
})();
