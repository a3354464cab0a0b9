// Shows the picture of the large view fitted to the pane, or at a scale.

const SCALES = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16, 32];

class Zoom {
  /**
   * @param {HTMLElement} pane
   * @param {HTMLElement} bar  with the buttons
   */
  constructor(pane, bar) {
    Object.assign(this, { pane, bar });
    /** Screen pixels for each pixel of the image; null: fitted to the pane. */
    this.scale = null;
    this.actions = {
      fit: () => this.#set(null), actual: () => this.#set(1), toggle: () => this.#set(this.scale === null ? 1 : null),
      larger: () => this.#step(1), smaller: () => this.#step(-1),
    };
    bar.addEventListener("click", (event) => this.actions[event.target.closest("[data-zoom]")?.dataset.zoom]?.());
    pane.addEventListener("pointerdown", (event) => this.#drag(event));
  }

  /** Show another picture, fitted to the pane. */
  show(picture) {
    this.pane.replaceChildren(picture);
    this.#set(null);
  }

  /** Redraw after the picture was loaded or replaced. */
  refresh() {
    const image = this.pane.querySelector("img");
    const scaled = image !== null && this.scale !== null;
    this.pane.classList.toggle("scaled", scaled);
    if (image) {
      image.style.width = scaled ? `${image.naturalWidth * this.scale}px` : "";
      image.classList.toggle("pixels", scaled && this.scale > 1);
    }
    for (const button of this.bar.querySelectorAll("button")) button.disabled = image === null;
    for (const [name, scale] of [["fit", null], ["actual", 1]]) {
      this.bar.querySelector(`[data-zoom="${name}"]`).setAttribute("aria-pressed", String(this.scale === scale));
    }
    this.bar.querySelector("output").textContent = image?.naturalWidth ? `${Math.round(this.#current(image) * 100)} %` : "";
  }

  /** Scroll the picture if it is larger than the pane. */
  pan(x, y) {
    this.pane.scrollBy(x, y);
  }

  #current(image) {
    return this.scale ?? Math.min(this.pane.clientWidth / image.naturalWidth, this.pane.clientHeight / image.naturalHeight);
  }

  #set(scale) {
    this.scale = scale;
    this.refresh();
    this.pane.scrollTo((this.pane.scrollWidth - this.pane.clientWidth) / 2, (this.pane.scrollHeight - this.pane.clientHeight) / 2);
  }

  #step(direction) {
    const image = this.pane.querySelector("img");
    if (!image?.naturalWidth) return;
    const now = this.#current(image);
    const next = direction > 0 ? SCALES.find((scale) => scale > now * 1.01) : SCALES.findLast((scale) => scale < now * 0.99);
    if (next !== undefined) this.#set(next);
  }

  #drag(event) {
    if (!this.pane.classList.contains("scaled") || event.pointerType !== "mouse") return; // touch scrolls natively
    this.pane.setPointerCapture(event.pointerId);
    const move = (moved) => this.pan(-moved.movementX, -moved.movementY);
    this.pane.addEventListener("pointermove", move);
    this.pane.addEventListener("lostpointercapture", () => this.pane.removeEventListener("pointermove", move), { once: true });
  }
}
