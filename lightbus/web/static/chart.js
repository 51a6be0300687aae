// Draws the charts of a page, anew whenever the page is renewed. Colours are those of the page.
"use strict";

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(size) {
  const line = { stroke: colour("--line"), width: 1 };
  return { stroke: colour("--soft"), grid: line, ticks: line, size: size, font: "12px system-ui, sans-serif" };
}

function drawChart(place) {
  const [times, lines] = JSON.parse(place.dataset.chart);
  const strokes = [colour("--accent"), colour("--good")];
  const series = lines.map(([name], i) => ({ label: name, stroke: strokes[i], width: 1.5, points: { show: false } }));
  const options = {
    width: place.clientWidth,
    height: 180,
    cursor: { drag: { x: false, y: false } },
    scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
    axes: [axis(28), axis(56)],
    series: [{ label: "at" }, ...series],
  };
  place.replaceChildren();
  new uPlot(options, [times, ...lines.map(([, values]) => values)], place);
}

function drawCharts() {
  document.querySelectorAll("[data-chart]").forEach(drawChart);
}

document.addEventListener("DOMContentLoaded", drawCharts);
document.addEventListener("htmx:afterSettle", drawCharts);
window.addEventListener("resize", drawCharts);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
