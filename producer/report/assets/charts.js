// Two charts as SVG, drawn for the width there is.

const SVG = "http://www.w3.org/2000/svg";
/** Labels with a bar of their own; the others are counted together. */
const MOST_BARS = 14;
const BINS = 20;

/** Make an element with attributes, and texts or elements inside. */
function element(name, attributes = {}, ...inside) {
  const made = name === "svg" || name.startsWith("svg:")
    ? document.createElementNS(SVG, name.replace("svg:", ""))
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...inside);
  return made;
}

const inWords = new Intl.NumberFormat("en").format;
const counted = (count, noun = "image") => `${inWords(count)} ${noun}${count === 1 ? "" : "s"}`;
/** Spell a confidence; 1 only where it is. */
const percent = (share) => (share === null ? "" : `${(Math.floor(share * 1000) / 10).toFixed(1)} %`);

/** Draw a rectangle, if it has a size. */
function bar(kind, x, y, width, height) {
  return width > 0 && height > 0 ? [element("svg:rect", { class: kind, x, y, width, height, rx: 2 })] : [];
}

function text(kind, x, y, anchor, content) {
  return element("svg:text", { class: kind, x, y, "text-anchor": anchor }, content);
}

/** Count each label's rows, and those in doubt; most first, and the rest of many as one. */
function labelBars(rows) {
  const bars = rows.labels.map((name) => ({ name: name || "no label", all: 0, doubtful: 0 }));
  rows.label.forEach((label, row) => {
    if (label < 0) return;
    bars[label].all += 1;
    bars[label].doubtful += rows.review[row];
  });
  const seen = bars.filter((one) => one.all > 0);
  if (seen.length <= MOST_BARS) return seen.sort((one, other) => inOrder(one.name, other.name));
  seen.sort((one, other) => other.all - one.all);
  const rest = seen.splice(MOST_BARS - 1);
  const sum = (field) => rest.reduce((total, one) => total + one[field], 0);
  return [...seen, { name: `${rest.length} others`, all: sum("all"), doubtful: sum("doubtful") }];
}

/** Draw how many images have each label, those in doubt apart. */
function labelsChart(rows, width) {
  const bars = labelBars(rows);
  const letters = Math.min(Math.max(...bars.map((one) => one.name.length)), Math.floor((width * 0.3) / 7.5));
  const [line, left, right] = [22, letters * 7.5 + 12, 56];
  const longest = Math.max(1, ...bars.map((one) => one.all));
  const scale = (width - left - right) / longest;
  const told = bars.map((one) => `${one.name}: ${inWords(one.all)}, ${inWords(one.doubtful)} to review`).join("; ");
  const chart = drawing(width, bars.length * line, `Images by label. ${told}`);
  bars.forEach((one, at) => {
    const sure = (one.all - one.doubtful) * scale;
    const y = at * line;
    const name = one.name.length > letters ? `${one.name.slice(0, letters - 1)}…` : one.name;
    chart.append(element("svg:g", {},
      element("svg:title", {}, `${one.name}: ${counted(one.all)}, ${inWords(one.doubtful)} to review`),
      text("name", left - 8, y + 15, "end", name),
      ...bar("sure", left, y + 4, sure, line - 8),
      ...bar("doubt", left + sure, y + 4, one.doubtful * scale, line - 8),
      text("count", left + one.all * scale + 8, y + 15, "start", inWords(one.all))));
  });
  return chart;
}

/** Count the confidences in bins of equal width. */
function confidenceBins(rows) {
  const bins = Array.from({ length: BINS }, () => ({ all: 0, doubtful: 0 }));
  rows.confidence.forEach((share, row) => {
    if (share === null) return;
    const bin = bins[Math.max(0, Math.min(BINS - 1, Math.floor(share * BINS)))];
    bin.all += 1;
    bin.doubtful += rows.review[row];
  });
  return bins;
}

/** Draw how sure the checkpoint was; a logarithm shows the few it was not beside the many it was. */
function confidenceChart(rows, width) {
  const bins = confidenceBins(rows);
  const [height, left, right, bottom] = [190, 46, 20, 22];
  const decades = Math.max(1, Math.ceil(Math.log10(Math.max(1, ...bins.map((bin) => bin.all)))));
  // An empty bin has no bar, and one image a small one: the scale begins at half of one.
  const tall = (count) => (count ? (Math.log10(2 * count) / Math.log10(2 * 10 ** decades)) * (height - 8) : 0);
  const step = (width - left - right) / BINS;
  const range = (at) => `${(at * 100) / BINS} to ${((at + 1) * 100) / BINS} %`;
  const told = bins.map((bin, at) => (bin.all ? `${range(at)}: ${inWords(bin.all)}` : "")).filter(Boolean).join("; ");
  const chart = drawing(width, height + bottom, `Images by confidence. ${told}`);
  for (let power = 0; power <= decades; power += 1) {
    const y = height - tall(10 ** power);
    chart.append(element("svg:line", { class: "axis", x1: left, x2: width - right, y1: y, y2: y }),
      text("count", left - 6, y + 4, "end", inWords(10 ** power)));
  }
  bins.forEach((bin, at) => {
    const [x, whole] = [left + at * step, tall(bin.all)];
    // Of one bar, a logarithm of a part means nothing: the doubtful part is a share of its height.
    const doubtful = bin.all ? (whole * bin.doubtful) / bin.all : 0;
    chart.append(element("svg:g", {},
      element("svg:title", {}, `${range(at)}: ${counted(bin.all)}, ${inWords(bin.doubtful)} to review`),
      ...bar("doubt", x + 1, height - doubtful, step - 2, doubtful),
      ...bar("sure", x + 1, height - whole, step - 2, whole - doubtful)));
  });
  for (const share of [0, 25, 50, 75, 100]) {
    chart.append(text("count", left + (share / 100) * BINS * step, height + 17, "middle", `${share} %`));
  }
  return chart;
}

function drawing(width, height, told) {
  return element("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": told });
}

/** Draw a chart, and again whenever its place changes its width. */
function keepDrawn(place, draw) {
  let width = 0;
  new ResizeObserver(() => {
    const now = Math.floor(place.clientWidth);
    if (now === width || now === 0) return;
    width = now;
    place.replaceChildren(draw(width));
  }).observe(place);
}
