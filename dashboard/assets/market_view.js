"use strict";
/* What the cells of the market grid show: functions and components that its column definitions name. */
(() => {
  const {format, freshness, sparkline} = globalThis.tickstreamMarket;
  const WIDTH = 90;
  const HEIGHT = 22;
  const create = (...parts) => window.React.createElement(...parts);
  const decimals = (params) => (params.data ? params.data.decimals : 2);
  const page = () => window.tickstream.market;

  const ageOf = (row) => (row.price_us === null ? null : Math.max(0, (page().serverUs() - row.price_us) / 1e6));
  const utc = (us) => `${new Date(us / 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;

  const functions = {
    marketPrice: (params) => format.price(params.value, decimals(params)),
    marketChange: (params) => format.signed(params.value, decimals(params)),
    marketPercent: (params) => format.signed(params.value, 2, "%"),
    marketShort: (params) => format.short(params.value),
    marketCount: (params) => (params.value === null ? format.NONE : params.value.toLocaleString("en-US")),
    marketExact: (params) => (params.value === null || params.value === undefined ? "not known"
      : params.value.toLocaleString("en-US", {maximumFractionDigits: 8})),
    marketVwapText: (params) => `VWAP ${format.price(params.data.vwap, decimals(params) + 2)}`,
    /* A text, so that the cell is drawn again when any of its parts moved. */
    marketRange: ({data}) => `${data.low} ${data.price} ${data.high} ${data.open}`,
    marketRangeText: (params) => ["low", "open", "price", "high"]
      .map((name) => `${name === "price" ? "last" : name} ${format.price(params.data[name], decimals(params))}`).join(" · "),
    marketAge: ({data}) => ageOf(data),
    marketAgeText: (params) => format.age(params.value ?? null),
    marketAgeTip: ({data}) => (data.price_us === null ? "No trade in this session" : `Last trade ${utc(data.price_us)}`),
    marketFreshness: (params) => `age-${freshness(params.value ?? null, page().staleAfter())}`,
  };

  /* A link that a click with a modifier opens as links are opened; the row's own click does the rest. */
  function MarketSymbol({value, data}) {
    return create("a", {href: page().chartPath(data.symbol), className: "market-symbol", tabIndex: -1,
                        onClick: (event) => { if (!event.ctrlKey && !event.metaKey) { event.preventDefault(); } }}, value);
  }

  function MarketSparkline({value}) {
    if (!value || value.length < 2) { return null; }
    const path = sparkline(value, WIDTH, HEIGHT);
    const way = value[value.length - 1] < value[0] ? "falling" : "rising";
    return create("svg", {className: `market-spark ${way}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none",
                          role: "img", "aria-label": `closes, ${way}`},
                  create("path", {d: path, vectorEffect: "non-scaling-stroke"}));
  }

  function MarketRange({data}) {
    if (data.low === null || data.price === null) { return create("span", {className: "muted"}, format.NONE); }
    const place = (value) => `${data.high === data.low ? 50 : 100 * (value - data.low) / (data.high - data.low)}%`;
    const mark = (name, value) => create("i", {key: name, className: name, style: {left: place(value)}});
    return create("span", {className: "market-range number"},
                  create("span", {key: "low"}, format.price(data.low, data.decimals)),
                  create("span", {key: "bar", className: "bar"}, mark("open", data.open), mark("last", data.price)),
                  create("span", {key: "high"}, format.price(data.high, data.decimals)));
  }

  window.dashAgGridFunctions = Object.assign(window.dashAgGridFunctions || {}, functions);
  window.dashAgGridComponentFunctions = Object.assign(window.dashAgGridComponentFunctions || {},
                                                      {MarketSymbol, MarketSparkline, MarketRange});
})();
