// Compares the rows with true labels: accuracy and confusions.

/** The most classes for a confusion matrix; with more, only the confusions are listed. */
const MATRIX = 20;
const CONFUSIONS = 40;
/** Percent of colour behind the lowest and the highest count; text stays readable on it in both themes. */
const SHADES = [12, 40];

/** Compare the labels with the true labels. */
function compared(rows) {
  const found = { right: 0, wrong: 0, failed: 0, /** true label, label → count */ counts: new Map(), labels: new Set() };
  rows.truth.forEach((truth, row) => {
    if (truth < 0) return;
    const right = isRight(rows, row);
    if (right === null) {
      found.failed += 1;
      return;
    }
    found[right ? "right" : "wrong"] += 1;
    const key = `${truth} ${right ? truth : rows.label[row]}`;
    found.counts.set(key, (found.counts.get(key) ?? 0) + 1);
    found.labels.add(truth).add(right ? truth : rows.label[row]);
  });
  return found;
}

/**
 * Show the accuracy and the confusions.
 * @param {HTMLDetailsElement} place
 * @param {function(number|null, number|null)} choose  called with the true label and the label that the user picks;
 *   null, null: all wrong rows
 */
function showTruth(place, rows, choose) {
  const found = compared(rows);
  const all = found.right + found.wrong;
  const failed = found.failed ? `; ${counted(found.failed, "error")} not counted` : "";
  const wrong = element("button", { type: "button", "data-wrong": "" }, `Show ${inWords(found.wrong)} wrong`);
  wrong.addEventListener("click", () => choose(null, null));
  wrong.hidden = !found.wrong;
  const names = (label) => rows.labels[label] || "unknown";
  const labels = [...found.labels].sort((one, other) => inOrder(names(one), names(other)));
  place.querySelector("summary b").textContent = `Accuracy ${percent(all ? found.right / all : null) || "not known"}`;
  place.querySelector("summary span").textContent = `${inWords(found.right)} of ${counted(all)} right${failed}`;
  place.querySelector(".comparison").replaceChildren(
    ...(labels.length <= MATRIX ? [matrix(found, labels, names, choose)] : []),
    element("div", {}, wrong, confusions(found, names, choose)));
  place.hidden = false;
}

function matrix(found, labels, names, choose) {
  const most = Math.max(1, ...[...found.counts].filter(([key]) => new Set(key.split(" ")).size > 1).map(([, count]) => count));
  const body = labels.map((truth) => element("tr", {}, element("th", { scope: "row" }, names(truth)), ...labels.map((label) => {
    const count = found.counts.get(`${truth} ${label}`) ?? 0;
    const cell = element("td", { class: truth === label ? "right" : count ? "wrong" : "" });
    if (!count) return cell;
    const title = `${names(truth)} classified as ${names(label)}: ${counted(count)}`;
    const button = element("button", { type: "button", tabindex: -1, title, "aria-label": title }, inWords(count));
    button.addEventListener("click", () => choose(truth, label));
    if (truth !== label) cell.style.setProperty("--share", `${SHADES[0] + ((SHADES[1] - SHADES[0]) * count) / most}%`);
    cell.append(button);
    return cell;
  })));
  const head = element("tr", {}, element("td", { class: "corner" }, "truth ↓ label →"), ...labels.map((label) => element("th", { scope: "col" }, names(label))));
  return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confusion matrix" },
    element("table", { class: "matrix" }, element("thead", {}, head), element("tbody", {}, ...body)));
}

/** List the confusions, most frequent first. */
function confusions(found, names, choose) {
  const wrong = [...found.counts].map(([key, count]) => [...key.split(" ").map(Number), count])
    .filter(([truth, label]) => truth !== label).sort((one, other) => other[2] - one[2]);
  const list = element("ul", { class: "confusions" }, ...wrong.slice(0, CONFUSIONS).map(([truth, label, count]) => {
    const button = element("button", { type: "button" }, element("b", {}, names(truth)), " classified as ", element("b", {}, names(label)), ` ${inWords(count)}×`);
    button.addEventListener("click", () => choose(truth, label));
    return element("li", {}, button);
  }));
  if (wrong.length > CONFUSIONS) list.append(element("li", { class: "muted" }, `and ${inWords(wrong.length - CONFUSIONS)} other pairs`));
  return list;
}
