// Draws the labels as bars, and the confidences as an SVG of the available width.

const BINS = 20;
/** The most labels that are shown in alphabetical order; more are shown by frequency. */
const IN_ORDER = 20;

/** Count the rows of each label, and those to review. */
function labelBars(rows) {
  const bars = rows.labels.map((name, index) => ({ index, name: name || "no label", all: 0, doubtful: 0 }));
  rows.label.forEach((label, row) => {
    if (label < 0) return;
    bars[label].all += 1;
    bars[label].doubtful += rows.review[row];
  });
  const seen = bars.filter((one) => one.all > 0).sort((one, other) => inOrder(one.name, other.name));
  return seen.length <= IN_ORDER ? seen : seen.sort((one, other) => other.all - one.all);
}

/** Create a bar for each label; `choose` is called with the label that the user picks. */
function labelsChart(rows, choose) {
  const bars = labelBars(rows);
  const longest = Math.max(1, ...bars.map((one) => one.all));
  const list = element("ul", { class: "bars", "aria-label": "Images by label" });
  for (const { index, name, all, doubtful } of bars) {
    const said = `${inWords(all)}${doubtful ? `, ${inWords(doubtful)} to review` : ""}`;
    const [sure, doubt] = ["sure", "doubt"].map((kind) => element("span", { class: kind }));
    sure.style.width = `${((all - doubtful) / longest) * 100}%`;
    doubt.style.width = `${(doubtful / longest) * 100}%`;
    // Not in the Tab order, since there may be 1,000 bars: the filter has the same labels for keyboard users.
    const button = element("button", { type: "button", tabindex: -1, title: `${name}: ${said}`, "aria-label": `${name}: ${said}` },
      element("span", { class: "name" }, name), element("span", { class: "track" }, sure, doubt), element("span", { class: "count" }, inWords(all)));
    button.addEventListener("click", () => choose(index));
    list.append(element("li", {}, button));
  }
  return list;
}

/** Draw a rectangle unless it is empty. */
function bar(kind, x, y, width, height) {
  return width > 0 && height > 0 ? [element("svg:rect", { class: kind, x, y, width, height, rx: 2 })] : [];
}

function text(kind, x, y, anchor, content) {
  return element("svg:text", { class: kind, x, y, "text-anchor": anchor }, content);
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

/** Draw a histogram of the confidences; its scale is logarithmic, so that rare low confidences are visible. */
function confidenceChart(rows, width) {
  const bins = confidenceBins(rows);
  const [height, left, right, bottom] = [190, 46, 20, 22];
  const decades = Math.max(1, Math.ceil(Math.log10(Math.max(1, ...bins.map((bin) => bin.all)))));
  // The scale starts at half an image, so that a bin with one image has a small bar.
  const tall = (count) => (count ? (Math.log10(2 * count) / Math.log10(2 * 10 ** decades)) * (height - 8) : 0);
  const step = (width - left - right) / BINS;
  const range = (at) => `${(at * 100) / BINS} to ${((at + 1) * 100) / BINS} %`;
  const summary = bins.map((bin, at) => (bin.all ? `${range(at)}: ${inWords(bin.all)}` : "")).filter(Boolean).join("; ");
  const chart = drawing(width, height + bottom, `Images by confidence. ${summary}`);
  for (let power = 0; power <= decades; power += 1) {
    const y = height - tall(10 ** power);
    chart.append(element("svg:line", { class: "axis", x1: left, x2: width - right, y1: y, y2: y }),
      text("count", left - 6, y + 4, "end", inWords(10 ** power)));
  }
  bins.forEach((bin, at) => {
    const [x, whole] = [left + at * step, tall(bin.all)];
    // On a logarithmic scale parts do not add up, so the part to review is a linear share of the bar.
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

function drawing(width, height, description) {
  return element("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": description });
}

/** Draw a chart, and redraw it whenever its container changes its width. */
function keepDrawn(place, draw) {
  let width = 0;
  new ResizeObserver(() => {
    const now = Math.floor(place.clientWidth);
    if (now === width || now === 0) return;
    width = now;
    place.replaceChildren(draw(width));
  }).observe(place);
}
