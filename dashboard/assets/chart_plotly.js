"use strict";
/* The chart page drawn by Plotly: with engine=plotly in the URL, or where the usual component could not be loaded. */
(() => {
  const LEAST_MS = 1000;    // between two drawings
  const PRICES = ["open", "high", "low", "close"];

  let figure = null;
  let drawn = 0;
  let timer = null;

  const slot = (time) => new Date(time * 1000).toISOString().slice(0, 16).replace("T", " ");
  const set = (props) => window.dash_clientside.set_props("chart-plotly", props);

  function draw(given) {
    figure = given;
    drawn = performance.now();
    set({figure});
  }

  /* At once if the last drawing is long ago, else when it is. */
  function update(model) {
    if (timer !== null || figure === null) { return; }
    const wait = Math.max(0, drawn + LEAST_MS - performance.now());
    timer = setTimeout(() => {
      timer = null;
      drawn = performance.now();
      const data = figure.data.map((trace) => renewed(trace, model));
      figure = {...figure, data, layout: ordered(figure.layout, model)};
      set({figure});
    }, wait);
  }

  function renewed(trace, model) {
    const {column} = trace.meta;
    if (column !== "price" && column !== "volume") {
      const y = model.rows.map((row) => row.values[column] ?? null);
      return {...trace, x: model.rows.map((row) => slot(row.time)), y};
    }
    const traded = model.rows.filter((row) => row.close !== null);
    const x = traded.map((row) => slot(row.time));
    if (column === "price") {
      return {...trace, x, ...Object.fromEntries(PRICES.map((name) => [name, traded.map((row) => row[name])]))};
    }
    const [down, up] = shades();
    const color = traded.map((row) => (row.close >= row.open ? up : down));
    return {...trace, x, y: traded.map((row) => row.volume), marker: {...trace.marker, color}};
  }

  /* The order of the slots, on the axis of each pane. */
  function ordered(layout, model) {
    const categoryarray = model.rows.map((row) => slot(row.time));
    const axes = Object.keys(layout).filter((name) => name.startsWith("xaxis"));
    return {...layout, ...Object.fromEntries(axes.map((name) => [name, {...layout[name], categoryarray}]))};
  }

  /* The two colours of the volume, as the theme's style has them. */
  const shades = () => window.tickstreamChart.style().series.find((spec) => spec.id === "volume").colours;

  function stop() {
    clearTimeout(timer);
    timer = null;
    figure = null;
  }

  /* Without the component's script the page goes on with Plotly; a stand-in keeps the rest of the page alive. */
  function withoutComponent() {
    if (window.dash_tvlwc) { return; }
    window.dash_tvlwc = {Tvlwc: () => null};
    const query = new URLSearchParams(window.location.search);
    if (window.location.pathname === "/" && query.get("engine") !== "plotly") {
      query.set("engine", "plotly");
      window.location.replace(`/?${query}`);
    }
  }

  withoutComponent();
  window.tickstreamChart = Object.assign(window.tickstreamChart || {}, {plotly: {draw, update, stop}});
})();
