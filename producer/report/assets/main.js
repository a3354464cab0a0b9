// Puts the page together.

/** Say in words what a row is: for who does not see the picture. */
function describe(rows, row) {
  const path = shownPath(rows.path[row]);
  if (rows.error[row]) return `${path}: ${rows.error[row]}`;
  return `${path}: ${[labelOf(rows, row), certainty(rows, row)].filter(Boolean).join(", ")}`;
}

/** Say how sure a row is: its confidence, if it has one, and whether it is to review. */
function certainty(rows, row) {
  return [percent(rows.confidence[row]), rows.review[row] ? "to review" : ""].filter(Boolean).join(", ");
}

/** Make an image, or what stands in its place where there is none to see. */
function imageOf(source, alt, fallback) {
  const image = element("img", { alt, decoding: "async" });
  image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth <= 64), { once: true });
  image.addEventListener("error", () => image.replaceWith(fallback()), { once: true });
  image.src = source;
  return image;
}

const embedded = (picture) => `data:image/webp;base64,${picture}`;
const placeholder = (why) => element("div", { class: "empty" }, why);

/** Gives the pictures of rows: embedded ones, and otherwise the files themselves. */
class Pictures {
  constructor(rows, thumbnails, links) {
    Object.assign(this, { rows, thumbnails, links });
  }

  small(row) {
    const { picture, why } = this.thumbnails.get(row) ?? {};
    if (picture) return imageOf(embedded(picture), this.#alt(row), () => placeholder("no picture"));
    return why ? placeholder(`no picture: ${why}`) : this.#linked(row, () => placeholder("no picture from here"));
  }

  /** The file itself, behind its thumbnail until it is there. */
  full(row) {
    const { picture, why } = this.thumbnails.get(row) ?? {};
    if (this.rows.error[row]) return placeholder("no picture");
    if (!picture || why) return this.small(row);
    const shown = this.small(row);
    const file = this.#linked(row, () => shown);
    file.addEventListener("load", () => shown.replaceWith(file), { once: true });
    return shown;
  }

  #linked(row, fallback) {
    return imageOf(linkOf(this.rows.path[row], this.links), this.#alt(row), fallback);
  }

  #alt(row) {
    return `Image ${shownPath(this.rows.path[row])}`;
  }
}

/** Show the counts. */
function showTiles(rows) {
  const errors = rows.error.filter(Boolean).length;
  const doubtful = rows.review.reduce((sum, one) => sum + one, 0);
  const tiles = [
    ["images", rows.path.length, ""], ["with a label", rows.label.filter((label) => rows.labels[label]).length, ""],
    ["to review", doubtful, doubtful ? "doubt" : ""], [errors === 1 ? "error" : "errors", errors, errors ? "error" : ""],
  ];
  document.getElementById("tiles").append(...tiles.map(([name, count, kind]) =>
    element("li", { class: kind }, element("b", {}, inWords(count)), name)));
}

/** Show what is known of all rows, and nothing of what is not. */
function showFacts(facts, rows) {
  const date = (seconds) => new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" }).format(seconds * 1000);
  const counts = countBy(rows.model);
  const checkpoints = rows.models.map((model, index) => (rows.models.length > 1
    ? `${model || "unknown"} (${counted(counts.get(index))})` : model)).filter(Boolean);
  const known = {
    [checkpoints.length > 1 ? `Answered by ${checkpoints.length} checkpoints` : "Checkpoint"]: checkpoints.join(", "),
    Started: facts.started && date(facts.started),
    Finished: facts.finished && date(facts.finished),
    Speed: facts.images_per_second
      && `${inWords(Math.round(facts.images_per_second))} images/s, ${inWords(Number(facts.seconds.toFixed(1)))} s in all`,
    Job: facts.job && `${facts.job}, ${facts.state}`,
    Sources: facts.sources.map(shownPath).join(" "),
    "This report": `${date(facts.made)}, Pigeonhole ${facts.version}`,
  };
  document.getElementById("facts").append(...Object.entries(known).filter(([, value]) => value).map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  document.getElementById("source").textContent = shownPath(facts.source);
  document.title = `Pigeonhole report: ${shownPath(facts.source)}`;
}

/** Offer the labels and the kinds of errors that there are. */
function offerChoices(form, rows) {
  const counts = countBy(rows.label);
  const labels = rows.labels.map((name, index) => ({ name, index })).filter(({ index }) => counts.has(index));
  form.elements.label.append(...labels.sort((one, other) => inOrder(one.name, other.name))
    .map(({ name, index }) => element("option", { value: index }, `${name || "no label"} (${inWords(counts.get(index))})`)));
  const kinds = countBy(rows.error.filter(Boolean).map(kindOf));
  form.elements.status.append(...[...kinds].sort(([one], [other]) => inOrder(one, other))
    .map(([kind, count]) => element("option", { value: `error:${kind}` }, `error: ${kind} (${inWords(count)})`)));
}

/** Read the form. */
function filterOf(form) {
  const { text, label, status, low, high } = form.elements;
  const share = (input) => (Number.isNaN(input.valueAsNumber) ? null : input.valueAsNumber / 100);
  return {
    text: text.value,
    label: label.value === "" ? null : Number(label.value),
    status: status.value,
    low: share(low),
    high: share(high),
  };
}

/** Light or dark: as the system has it, until a person says otherwise. */
function startTheme(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  try {
    const kept = localStorage.getItem("pigeonhole:theme");
    if (kept) root.dataset.theme = kept;
  } catch { /* nothing is kept here; the review says so, where it matters */ }
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("pigeonhole:theme", root.dataset.theme); } catch { /* for this visit, then */ }
    show();
  });
  system.addEventListener("change", show);
  show();
}

/** Make what the contact sheet shows. */
function cellsOf(rows, decisions, pictures, shown) {
  const caption = (row) => {
    const decided = decisions.of(row);
    const was = labelOf(rows, row);
    const same = decided === rows.labels[rows.label[row]];
    if (decided === undefined) return [element("b", {}, was), element("span", {}, percent(rows.confidence[row]))];
    return [element("b", { class: "mine" }, same ? `✓ ${was}` : `✓ ${decided || "none"}`),
      element("span", {}, same ? percent(rows.confidence[row]) : `was ${was}`)];
  };
  const failed = (row) => element("div", { class: "cell failed", "aria-label": describe(rows, row) },
    element("span", { class: "path" }, shownPath(rows.path[row])), element("span", { class: "why" }, rows.error[row]));
  const labelled = (row) => {
    const decided = decisions.of(row);
    const mine = decided === undefined ? "" : `; ${wordsFor(decided, rows.labels[rows.label[row]])}`;
    return element("div", {
      class: rows.review[row] && decided === undefined ? "cell doubt" : "cell",
      "aria-label": describe(rows, row) + mine, title: shownPath(rows.path[row]),
    }, element("div", { class: "thumb" }, pictures.small(row)), element("div", { class: "caption" }, ...caption(row)));
  };
  return {
    cell: (row) => (rows.label[row] < 0 ? failed(row) : labelled(row)),
    heading: (from, to) => {
      const group = shown().slice(from, to);
      const doubtful = group.filter((row) => rows.review[row]).length;
      const name = rows.label[group[0]] < 0 ? "Errors" : labelOf(rows, group[0]);
      const counts = counted(group.length) + (doubtful ? `, ${inWords(doubtful)} to review` : "");
      return element("div", { role: "rowheader" }, element("h2", {}, name, " ", element("span", {}, counts)));
    },
  };
}

function main() {
  const byId = (id) => document.getElementById(id);
  const [facts] = takeBlocks("facts");
  const rows = readRows(facts);
  const order = orderOf(rows);
  const decisions = new Decisions(rows, facts.digest);
  const pictures = new Pictures(rows, readThumbnails(), facts.links);
  const form = byId("filters");
  const sheet = new Sheet(byId("sheet"), rows, cellsOf(rows, decisions, pictures, () => sheet.shown), (row) => viewer.open(sheet.shown, row));
  const exported = () => save(correctionsOf(rows, decisions, facts.csv_safe), "corrections.csv");
  const viewer = new Viewer(rows, decisions, (row) => pictures.full(row), { decided: told, closed, exported });

  /** Show what there is to export, and whether it is kept. */
  function told() {
    const count = decisions.latest.size;
    byId("export").disabled = count === 0;
    byId("export").textContent = count ? `Export ${inWords(count)} reviewed` : "Export";
    const unfinished = facts.images !== null && facts.images > rows.path.length
      ? `${inWords(rows.path.length)} of the job's ${inWords(facts.images)} images have a row here.` : "";
    const trouble = decisions.trouble && `${decisions.trouble} Export before you close it.`;
    byId("note").textContent = [unfinished, trouble].filter(Boolean).join(" ");
    byId("note").hidden = !unfinished && !trouble;
  }

  function apply() {
    const shown = filtered(order, rows, filterOf(form), decisions);
    sheet.show(shown);
    byId("count").textContent = shown.length === order.length
      ? counted(shown.length) : `${inWords(shown.length)} of ${inWords(order.length)} images`;
    byId("none").hidden = shown.length > 0;
  }

  function closed(row) {
    if (["reviewed", "changed"].includes(form.elements.status.value)) apply();
    else sheet.refresh();
    const position = sheet.positionOf(row);
    if (position >= 0) sheet.focus(position);
  }

  /** Go through the doubtful that the other filters let through, the least sure first. */
  function review() {
    form.elements.status.value = "doubtful";
    apply();
    if (!sheet.shown.length) return;
    const queue = [...sheet.shown].sort((one, other) => rows.confidence[one] - rows.confidence[other]);
    viewer.open(queue, queue.find((row) => decisions.of(row) === undefined));
  }

  byId("review").disabled = !rows.review.includes(1);
  startTheme(byId("theme"));
  showTiles(rows);
  showFacts(facts, rows);
  offerChoices(form, rows);
  keepDrawn(byId("labels-chart"), (width) => labelsChart(rows, width));
  keepDrawn(byId("confidence-chart"), (width) => confidenceChart(rows, width));
  for (const field of form.elements) {
    if (field.name) field.addEventListener(field.tagName === "SELECT" ? "change" : "input", apply); // not the fieldset too
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply)); // the fields are empty only after it
  byId("export").addEventListener("click", exported);
  byId("review").addEventListener("click", review);
  addEventListener("storage", (event) => { // another tab has the same report
    if (event.key !== decisions.key) return;
    decisions.load();
    told();
    sheet.refresh();
  });
  told();
  apply();
}

main();
