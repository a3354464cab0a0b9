// A search box for labels, which also accepts a new label.

/** Return the labels that match a text: first the same one, then those that start with it, then those that contain it. */
function matching(labels, text) {
  const wanted = text.toLowerCase();
  const place = (label) => {
    const name = label.toLowerCase();
    return name === wanted ? 0 : name.startsWith(wanted) ? 1 : name.includes(wanted) ? 2 : 3;
  };
  return labels.map((label) => [place(label), label]).filter(([at]) => at < 3)
    .sort(([one, a], [other, b]) => one - other || inOrder(a, b)).map(([, label]) => label);
}

class Picker {
  /**
   * @param {HTMLElement} root
   * @param {string} prompt
   * @param {function(): string[]} labels
   * @param {function(string)} choose  called with the label that the user picks
   */
  constructor(root, prompt, labels, choose) {
    Object.assign(this, { root, labels, choose });
    const id = `${root.id}-labels`;
    this.input = element("input", {
      role: "combobox", "aria-label": prompt, "aria-expanded": "false", "aria-controls": id, "aria-autocomplete": "list",
      placeholder: prompt, autocomplete: "off", spellcheck: "false",
    });
    this.list = element("ul", { id, role: "listbox", "aria-label": "Labels", hidden: "" });
    root.append(this.input, this.list);
    this.active = 0;
    for (const type of ["input", "focus"]) this.input.addEventListener(type, () => this.#show());
    this.input.addEventListener("blur", () => this.#hide());
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.list.addEventListener("mousedown", (event) => event.preventDefault()); // keeps the focus, and so the list open
    this.list.addEventListener("click", (event) => this.#pick(event.target.closest("[role=option]")));
  }

  focus() {
    this.input.focus();
  }

  #show() {
    const text = this.input.value.trim();
    const found = matching(this.labels(), text);
    const options = found.map((label) => this.#option(label, label));
    if (text && found[0]?.toLowerCase() !== text.toLowerCase()) options.push(this.#option(text, `New label “${text}”`));
    this.list.replaceChildren(...options);
    this.list.hidden = !options.length;
    this.input.setAttribute("aria-expanded", String(options.length > 0));
    this.#activate(0);
  }

  #option(label, words) {
    const option = element("li", { role: "option", "aria-selected": "false" }, words);
    option.dataset.label = label;
    return option;
  }

  #hide() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  #activate(at) {
    const options = [...this.list.children];
    this.active = Math.max(0, Math.min(options.length - 1, at));
    options.forEach((option, index) => {
      option.id = `${this.list.id}-${index}`;
      option.setAttribute("aria-selected", String(index === this.active));
    });
    options[this.active]?.scrollIntoView({ block: "nearest" });
    if (options.length) this.input.setAttribute("aria-activedescendant", options[this.active].id);
  }

  #pick(option) {
    if (!option) return;
    this.input.value = "";
    this.#hide();
    this.choose(option.dataset.label);
  }

  #key(event) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") this.#activate(this.active + (event.key === "ArrowDown" ? 1 : -1));
    else if (event.key === "Enter" && !this.list.hidden) this.#pick(this.list.children[this.active]);
    else if (event.key === "Enter") this.#show();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
