// The charts of the insight page. They show what stands in the tables below them, and nothing else.
"use strict";

(() => {
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const STEPS = [1, 10, 60, 600, 3600, 21600, 86400, 604800, 2592000];

  const day = (at) => {
    const date = new Date(at * 1000);
    return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
  };
  const whole = (count) => Math.round(count).toLocaleString("en").replaceAll(",", "\u202f");
  const span = (seconds) => {
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (seconds >= size) return `${Number((seconds / size).toFixed(seconds / size < 10 ? 1 : 0))} ${unit}`;
    }
    return `${Math.round(seconds)} s`;
  };

  // Colours as they are now: a canvas does not follow the page when it turns dark.
  const colour = (name) =>
    getComputedStyle(document.querySelector(`[data-insight-colour="${name}"]`)).backgroundColor;

  function read(table, columns) {
    const rows = [...table.tBodies[0].rows];
    const at = rows.map((row) => Number(row.dataset.at));
    const lists = Array.from({ length: columns }, (_, index) =>
      rows.map((row) => {
        const value = row.querySelectorAll("[data-v]")[index].dataset.v;
        return value === "" ? null : Number(value);
      }),
    );
    return [at, ...lists];
  }

  function axes(frame, values, width) {
    const style = getComputedStyle(frame);
    const common = {
      stroke: style.color,
      font: `12px ${getComputedStyle(document.body).fontFamily}`,
      grid: { stroke: style.borderTopColor, width: 1 },
      ticks: { show: false },
    };
    return [
      { ...common, grid: { show: false }, space: 64, size: 28, values: (_, splits) => splits.map(day) },
      { ...common, size: width, values: (_, splits) => splits.map(values) },
    ];
  }

  function base(frame, reading, tell) {
    return {
      width: frame.clientWidth,
      height: frame.clientHeight,
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      padding: [8, 12, 0, 0],
      hooks: {
        setCursor: [
          (chart) => {
            reading.textContent = chart.cursor.idx == null ? "\u00a0" : tell(chart.cursor.idx);
          },
        ],
      },
    };
  }

  const kinds = {
    volumes(frame, reading, table) {
      const [at, published, held, rejected] = read(table, 3);
      const two = published.map((count, index) => count + held[index]);
      const all = two.map((count, index) => count + rejected[index]);
      const bars = uPlot.paths.bars({ size: [0.7, 48] });
      const layer = (name) => ({ fill: colour(name), width: 0, paths: bars, points: { show: false } });
      const options = base(
        frame,
        reading,
        (index) =>
          `${day(at[index])}: ${whole(published[index])} published, ${whole(held[index])} held, ` +
          `${whole(rejected[index])} rejected`,
      );
      options.scales = {
        // Half a day on both sides, for the bars of the first and the last day.
        x: { time: true, range: () => [at[0] - 43200, at[at.length - 1] + 43200] },
        y: { range: (_, least, most) => [0, Math.max(4, most * 1.05)] },
      };
      options.axes = axes(frame, whole, 48);
      options.axes[1].incrs = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6];
      options.tzDate = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");
      options.series = [{}, layer("rejected"), layer("held"), layer("published")];
      // The highest first: what is lower is painted over it.
      return new uPlot(options, [at, all, two, published], frame);
    },

    times(frame, reading, table) {
      const [at, median, ninth] = read(table, 2).map((list, index) =>
        index ? list.map((value) => (value === null ? null : Math.max(1, value))) : list,
      );
      const line = (name, width) => ({
        stroke: colour(name),
        width,
        points: { show: true, size: 6, fill: colour(name), stroke: colour(name) },
      });
      const options = base(frame, reading, (index) =>
        median[index] === null
          ? `${day(at[index])}: nothing was decided`
          : `${day(at[index])}: half in ${span(median[index])}, nine of ten in ${span(ninth[index])}`,
      );
      options.scales = {
        x: { time: true, range: () => [at[0] - 43200, at[at.length - 1] + 43200] },
        y: {
          distr: 3,
          range: (_, least, most) => [
            STEPS.findLast((step) => step <= least) ?? 1,
            STEPS.find((step) => step >= most) ?? most,
          ],
        },
      };
      options.axes = axes(frame, (value) => (value === null ? "" : span(value)), 60);
      options.axes[1].splits = (chart) =>
        STEPS.filter((step) => step >= chart.scales.y.min && step <= chart.scales.y.max);
      options.axes[1].filter = (_, splits) => splits;
      options.tzDate = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");
      options.series = [{}, line("median", 2), line("ninth", 2)];
      return new uPlot(options, [at, median, ninth], frame);
    },
  };

  function draw(frame) {
    const name = frame.dataset.insightChart;
    const reading = document.querySelector(`[data-insight-reading="${name}"]`);
    frame.hidden = false;
    reading.hidden = false;
    reading.textContent = "\u00a0";
    frame.replaceChildren();
    const chart = kinds[name](frame, reading, document.getElementById(frame.dataset.insightTable));
    // The table says it to who does not see it.
    chart.root.setAttribute("aria-hidden", "true");
    return chart;
  }

  const charts = new Map();
  const drawAll = () => {
    for (const frame of document.querySelectorAll("[data-insight-chart]")) {
      charts.get(frame)?.destroy();
      charts.set(frame, draw(frame));
    }
  };
  drawAll();
  new ResizeObserver(() => {
    for (const [frame, chart] of charts) {
      if (chart.width !== frame.clientWidth) chart.setSize({ width: frame.clientWidth, height: frame.clientHeight });
    }
  }).observe(document.querySelector(".insight"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
})();
