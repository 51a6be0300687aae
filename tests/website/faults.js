// What is wrong with the page that is shown, each as a sentence; and its links and ids.
(width) => {
  const faults = [];
  const content = document.querySelector(".md-content") || document.body;
  const seen = (element) => element.getClientRects().length > 0;
  const style = (element) => getComputedStyle(element);
  const words = (element) => (element.textContent || element.tagName).trim().replace(/\s+/g, " ").slice(0, 50);
  const scrolls = (element) => ["auto", "scroll"].includes(style(element).overflowX);
  const ancestors = function* (element) {
    for (let each = element; each; each = each.parentElement) yield each;
  };

  const root = document.documentElement;
  if (root.scrollWidth > width) faults.push(`the page is ${root.scrollWidth} wide`);

  for (const code of document.querySelectorAll("pre > code")) {
    const cut = code.scrollWidth - code.clientWidth;
    if (seen(code) && cut > 1 && (width >= 1280 || !scrolls(code))) {
      const longest = code.textContent.split("\n").reduce((a, b) => (b.length > a.length ? b : a));
      faults.push(`code is ${cut} wider than its column: ${longest.trim()}`);
    }
  }

  // The column of text, without the space beside it.
  const inner = content.querySelector(".md-content__inner") || content;
  const column = inner.getBoundingClientRect();
  for (const element of inner.querySelectorAll("*")) {
    // What is drawn has its own bounds, and what is hidden has none.
    if (!seen(element) || (element.closest("svg") && element.tagName !== "svg")) continue;
    if (element.closest(".md-clipboard, .md-code__nav, .headerlink, a.key")) continue;
    if ([...ancestors(element.parentElement)].some(scrolls)) continue;
    const box = element.getBoundingClientRect();
    // Code and tables may use the margin; so does the padding of code in a line.
    const place = element.closest(".highlight, pre, .md-typeset__scrollwrap") ? { left: 0, right: width } : column;
    const out = Math.max(box.right - place.right, place.left - box.left);
    if (out > 5) {
      faults.push(`<${element.tagName.toLowerCase()}> sticks out by ${Math.round(out)}: ${words(element)}`);
    }
    const hides = ["hidden", "clip"].includes(style(element).overflowX);
    if (hides && element.scrollWidth > element.clientWidth + 1) {
      faults.push(`<${element.tagName.toLowerCase()}> is cut: ${words(element)}`);
    }
  }

  for (const image of document.images) {
    if (!image.complete || !image.naturalWidth) faults.push(`no picture: ${image.getAttribute("src")}`);
  }
  for (const svg of content.querySelectorAll("figure.drawing svg")) {
    const whole = svg.getBoundingClientRect();
    if (!whole.width || !whole.height) faults.push(`no drawing: ${svg.id}`);
    for (const text of svg.querySelectorAll("text")) {
      const box = text.getBoundingClientRect();
      if (box.left < whole.left - 1 || box.right > whole.right + 1 || box.bottom > whole.bottom + 1) {
        faults.push(`${svg.id} cuts: ${words(text)}`);
      }
    }
  }

  // What is hard to read: the contrast of words and the ground beneath them, as WCAG counts it.
  const colour = (text) => {
    const [r, g, b, a = 1] = (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
    return { rgb: [r, g, b], a };
  };
  const over = (top, ground) => top.rgb.map((value, i) => value * top.a + ground[i] * (1 - top.a));
  const light = (rgb) => {
    const [r, g, b] = rgb.map((value) => value / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  const ground = (element) =>
    [...ancestors(element)].reverse().reduce((rgb, each) => over(colour(style(each).backgroundColor), rgb), [255, 255, 255]);
  const hard = new Set();
  for (const element of content.querySelectorAll("h1, h2, p, li, td, th, a, code, code span, b, summary")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !seen(element) || element.closest("svg, .headerlink, .md-clipboard")) continue;
    const beneath = ground(element);
    const ratio = contrast(over(colour(style(element).color), beneath), beneath);
    const what = `${element.tagName.toLowerCase()}.${element.className}`;
    if (ratio < 3 && !hard.has(what)) {
      hard.add(what);
      faults.push(`${what} has a contrast of ${ratio.toFixed(1)}: ${words(element)}`);
    }
  }
  for (const svg of content.querySelectorAll("figure.drawing svg")) {
    const boxes = [];
    for (const part of svg.querySelectorAll("rect, text")) {
      const place = part.getBoundingClientRect();
      if (part.tagName === "rect") { boxes.push([place, part]); continue; }
      const [x, y] = [(place.left + place.right) / 2, (place.top + place.bottom) / 2];
      const beneath = boxes.filter(([b]) => b.left <= x && x <= b.right && b.top <= y && y <= b.bottom).pop();
      const paper = beneath ? over(colour(style(beneath[1]).fill), ground(svg)) : ground(svg);
      const ratio = contrast(colour(style(part).fill).rgb, paper);
      if (ratio < 4) faults.push(`${svg.id} has a contrast of ${ratio.toFixed(1)}: ${words(part)}`);
    }
  }

  return {
    faults,
    links: [...document.querySelectorAll("a[href]")].map((link) => link.href),
    ids: [...document.querySelectorAll("[id], a[name]")].map((each) => each.id || each.name),
    drawings: [...content.querySelectorAll("figure.drawing svg")].map((each) => each.id),
  };
}
