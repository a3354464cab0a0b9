// Makes the pictures of rows and the cells of the contact sheet.

/** Pixels of the longer side up to which an image is shown without smoothing. */
const SMALL = 64;
/** The most letters of a label that fit beside the confidence. */
const LONG = 5;

/** Create an image, or its placeholder if the image can't be loaded. */
function imageOf(source, alt, fallback) {
  const image = element("img", { alt, decoding: "async", draggable: "false" });
  image.addEventListener("load", () => image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) <= SMALL), { once: true });
  image.addEventListener("error", () => image.replaceWith(fallback()), { once: true });
  image.src = source;
  return image;
}

const embedded = (picture) => `data:image/webp;base64,${picture}`;
const placeholder = (why) => element("div", { class: "empty" }, why);

/** Provides the pictures of rows: thumbnails, or else the files. */
class Pictures {
  constructor(rows, thumbnails, links) {
    Object.assign(this, { rows, thumbnails, links });
  }

  small(row) {
    const { picture, why } = this.thumbnails.get(row) ?? {};
    if (this.rows.error[row]) return placeholder("no picture");
    if (picture) return imageOf(embedded(picture), this.#alt(row), () => placeholder("no picture"));
    return why ? placeholder(`no picture: ${why}`) : this.#linked(row, () => placeholder("image not found"));
  }

  /**
   * Return the picture of a row, and replace it by the file once that is loaded.
   * @param {function(HTMLImageElement, boolean)} loaded  called with each image, and whether it is the file
   */
  full(row, loaded) {
    const { picture, why } = this.thumbnails.get(row) ?? {};
    const shown = this.small(row);
    const isFile = !picture && !why;
    shown.addEventListener("load", () => loaded(shown, isFile), { once: true });
    if (isFile || why || this.rows.error[row]) return shown;
    const file = this.#linked(row, () => shown);
    file.addEventListener("load", () => {
      shown.replaceWith(file);
      loaded(file, true);
    }, { once: true });
    return shown;
  }

  #linked(row, fallback) {
    return imageOf(linkOf(this.rows.path[row], this.links), this.#alt(row), fallback);
  }

  #alt(row) {
    return `Image ${shownPath(this.rows.path[row])}`;
  }
}

/** Makes the cells and headings of the contact sheet. */
class Cells {
  constructor(rows, decisions, pictures) {
    Object.assign(this, { rows, decisions, pictures });
    /** Whether labels are too long for one line with the confidence. */
    this.long = rows.labels.some((label) => label.length > LONG);
  }

  /** Create the cell of a row; with `line`, an error is a line with its reason. */
  cell(row, line) {
    return line ? this.#line(row) : this.#picture(row);
  }

  /** Create the heading of a section: its name and counts. */
  heading(section, group) {
    const doubtful = group.filter((row) => this.rows.review[row]).length;
    const name = section === ERRORS ? "Errors" : labelOf(this.rows, group[0]);
    const counts = counted(group.length) + (doubtful ? `, ${inWords(doubtful)} to review` : "");
    return element("div", { role: "rowheader" }, element("h2", {}, name, " ", element("span", {}, counts)));
  }

  #line(row) {
    return element("div", { class: "cell failed", "aria-label": describe(this.rows, row) },
      element("span", { class: "path" }, shownPath(this.rows.path[row])), element("span", { class: "why" }, this.rows.error[row]));
  }

  #picture(row) {
    const { rows } = this;
    const decided = this.decisions.of(row);
    const mine = decided === undefined ? "" : `; ${wordsFor(decided, rows.labels[rows.label[row]])}`;
    const kinds = ["cell", rows.review[row] && decided === undefined && "doubt", isRight(rows, row) === false && "wrong"];
    return element("div", {
      class: kinds.filter(Boolean).join(" "), "aria-label": describe(rows, row) + mine, title: describe(rows, row),
    }, element("div", { class: "thumb" }, this.pictures.small(row), ...this.#badge(row), element("span", { class: "pick", "aria-hidden": "true" })),
    element("div", { class: "caption" }, ...this.#caption(row)));
  }

  #badge(row) {
    const share = this.rows.unknown[row];
    return isUnknown(this.rows, row) ? [element("span", { class: "badge" }, `unknown ${percent(share, 0)}`)] : [];
  }

  #caption(row) {
    const { rows } = this;
    if (rows.error[row]) return [element("b", { class: "why" }, "error"), element("span", {}, kindOf(rows.error[row]))];
    const decided = this.decisions.of(row);
    const was = labelOf(rows, row);
    const same = decided === rows.labels[rows.label[row]];
    const note = isRight(rows, row) === false ? `true: ${truthOf(rows, row)}` : percent(rows.confidence[row]);
    if (decided === undefined) return [element("b", {}, was), element("span", {}, note)];
    return [element("b", { class: "mine" }, same ? `✓ ${was}` : `✓ ${decided || "unknown"}`),
      element("span", {}, same ? note : `was ${was}`)];
  }
}
