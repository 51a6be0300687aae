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
  const span = times.length > 0 ? times[times.length - 1] - times[0] : 0;
  const options = {
    width: place.clientWidth,
    height: 180,
    cursor: { drag: { x: false, y: false } },
    // As all other times of the page.
    tzDate: (at) => uPlot.tzDate(new Date(at * 1e3), "Etc/UTC"),
    scales: { y: { range: (_, low, high) => [0, Math.max(Number(place.dataset.least), high * 1.1)] } },
    axes: [{ ...axis(28), values: span > 300 ? "{HH}:{mm}" : "{HH}:{mm}:{ss}", space: 80 }, axis(68)],
    series: [{ label: "at", value: "{HH}:{mm}:{ss}" }, ...series],
  };
  return new uPlot(options, [times, ...lines.map(([, values]) => values)], place);
}

// What is drawn now: it listens to the window, so that one that is only gone from the page would stay for ever.
let drawn = [];

function drawCharts() {
  drawn.forEach((it) => it.destroy());
  drawn = [...document.querySelectorAll("[data-chart]")].map(drawChart);
}

document.addEventListener("DOMContentLoaded", drawCharts);
document.addEventListener("htmx:afterSettle", drawCharts);
window.addEventListener("resize", drawCharts);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
