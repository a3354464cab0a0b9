// The labels as bars, and the confidence as an SVG drawn for the width there is.

const BINS = 20;
/** Labels that stand in their order; of more, the most frequent come first. */
const IN_ORDER = 20;

/** Count each label's rows, and those in doubt. */
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

/** Make a bar for each label, in full; `choose` is called with the label that a person picks. */
function labelsChart(rows, choose) {
  const bars = labelBars(rows);
  const longest = Math.max(1, ...bars.map((one) => one.all));
  const list = element("ul", { class: "bars", "aria-label": "Images by label" });
  for (const { index, name, all, doubtful } of bars) {
    const said = `${inWords(all)}${doubtful ? `, ${inWords(doubtful)} to review` : ""}`;
    const [sure, doubt] = ["sure", "doubt"].map((kind) => element("span", { class: kind }));
    sure.style.width = `${((all - doubtful) / longest) * 100}%`;
    doubt.style.width = `${(doubtful / longest) * 100}%`;
    // The choice of labels is there for the keyboard: 1,000 bars are no stops of Tab.
    const button = element("button", { type: "button", tabindex: -1, title: `${name}: ${said}`, "aria-label": `${name}: ${said}` },
      element("span", { class: "name" }, name), element("span", { class: "track" }, sure, doubt), element("span", { class: "count" }, inWords(all)));
    button.addEventListener("click", () => choose(index));
    list.append(element("li", {}, button));
  }
  return list;
}

/** Draw a rectangle, if it has a size. */
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
