// The head of the page: the review, counts, facts about the run, and the theme.

/** Shows how many images are to review, and how many of them are reviewed. */
class Hero {
  constructor(rows, decisions) {
    this.decisions = decisions;
    this.doubtful = rows.review.flatMap((review, row) => (review ? [row] : []));
    this.errors = rows.error.filter(Boolean).length;
  }

  show() {
    const all = this.doubtful.length;
    const done = this.doubtful.filter((row) => this.decisions.of(row) !== undefined).length;
    const left = all - done;
    const button = byId("review");
    button.hidden = all === 0;
    button.textContent = left ? `${counted(left)} ${left === 1 ? "needs" : "need"} you` : "Review again";
    button.classList.toggle("primary", left > 0);
    byId("export").classList.toggle("primary", all > 0 && left === 0);
    byId("hero-text").textContent = this.#words(all, left);
    byId("hero-text").classList.toggle("big", left === 0);
    byId("hero-progress").hidden = all === 0;
    Object.assign(byId("hero-bar"), { max: all || 1, value: done });
    byId("hero-done").textContent = `${inWords(done)} of ${inWords(all)} reviewed`;
  }

  #words(all, left) {
    if (left) return "The model was uncertain about them.";
    if (all) return "All images to review are reviewed. Export saves your decisions.";
    const errors = this.errors ? ` ${counted(this.errors)} could not be read.` : "";
    return `No image is marked for review.${errors}`;
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
  byId("tiles").append(...tiles.map(([name, count, kind]) =>
    element("li", { class: kind }, element("b", {}, inWords(count)), " ", name)));
}

/** Show the known facts about all rows. */
function showFacts(facts, rows) {
  const counts = countBy(rows.model);
  const models = rows.models.map((model, index) => (rows.models.length > 1
    ? `${model || "not known"} (${counted(counts.get(index))})` : model)).filter(Boolean);
  const known = {
    [models.length > 1 ? "Models" : "Model"]: models.join(", "),
    Started: facts.started && dateInWords(facts.started),
    Finished: facts.finished && dateInWords(facts.finished),
    Speed: facts.images_per_second
      && `${inWords(Math.round(facts.images_per_second))} images/s, ${inWords(Number(facts.seconds.toFixed(1)))} s in all`,
    Job: facts.job && `${facts.job}, ${facts.state}`,
    Sources: facts.sources.map(shownPath).join(" "),
    "This report": `${dateInWords(facts.made)}, Pigeonhole ${facts.version}`,
  };
  byId("facts").append(...Object.entries(known).filter(([, value]) => value).map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  byId("source").textContent = shownPath(facts.source);
  document.title = `Pigeonhole report: ${shownPath(facts.source)}`;
}

/** Return notes about the page, one sentence each. */
function notesOf(facts, rows, decisions) {
  const labelled = rows.error.some((error) => !error);
  return [
    facts.images !== null && facts.images > rows.path.length
      && `${inWords(rows.path.length)} of the job's ${inWords(facts.images)} images have a row here.`,
    labelled && !rows.top.some((top) => top.length)
      && "These rows have no alternative labels: classify with --top 3 to see them here.",
    facts.missing > 0 && facts.missing === rows.error.filter((error) => !error).length
      && "No image file was found: make the report with --images FOLDER, the folder where `classify` ran.",
    decisions.trouble && `${decisions.trouble} Export before you close it.`,
  ].filter(Boolean);
}

/** Set up the theme: that of the system, until the user chooses another. */
function startTheme(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  try {
    const kept = localStorage.getItem("pigeonhole:theme");
    if (kept) root.dataset.theme = kept;
  } catch { /* the browser saves nothing; a note on the page says so */ }
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("pigeonhole:theme", root.dataset.theme); } catch { /* it lasts for this visit only */ }
    show();
  });
  system.addEventListener("change", show);
  show();
}
