/** The classes with their keys, as buttons; a field to find one or to name a new one; and what else can be done. */

import { assign } from "./class_keys.js";
import { bdi, el, fill } from "./dom.js";
import { nodes, number, t } from "./texts.js";

/** @typedef {{name: string, count: number, is_learnt: boolean, is_inner: boolean}} Class */

export class ClassPanel {
  /**
   * @param {object} wishes
   * @param {string} wishes.place what the keys of the classes are kept for
   * @param {(name: string, isNew: boolean) => void} wishes.picked
   * @param {(command: string) => void} wishes.pressed
   * @param {(name: string, ids: string[]) => void} wishes.dropped pictures were drawn onto a class
   */
  constructor({ place, picked, pressed, dropped }) {
    this.place = place;
    this.picked = picked;
    this.dropped = dropped;
    /** @type {Class[]} */
    this.classes = [];
    /** @type {Map<string, string>} */
    this.keys = new Map();
    /** @type {string | null} */
    this.proposed = null;
    this.list = el("div", { class: "class-list" });
    this.field = /** @type {HTMLInputElement} */ (
      el("input", {
        type: "text",
        autocomplete: "off",
        autocapitalize: "off",
        spellcheck: "false",
        maxlength: "200",
        placeholder: t("Find or name a class"),
        "aria-label": t("Find or name a class"),
        oninput: () => this.#draw(),
        onkeydown: (/** @type {KeyboardEvent} */ event) => this.#typed(event),
      })
    );
    this.accept = el("button", { class: "action accept", onclick: () => pressed("accept") });
    this.actions = el(
      "div",
      { class: "actions" },
      this.accept,
      command("unknown", t("Wrong"), "-", pressed),
      command("large", t("Larger"), "␣", pressed),
      command("select-all", t("Select all"), "Ctrl A", pressed),
      command("undo", t("Undo"), "⌫", pressed),
    );
    this.last = el("p", { class: "last" });
    this.element = el(
      "aside",
      { class: "classes", "aria-label": t("Classes") },
      this.actions,
      el("div", { class: "field" }, this.field, el("kbd", { "aria-hidden": "true" }, "/")),
      this.list,
      this.last,
    );
    this.element.addEventListener("mousedown", (event) => {
      if (event.target instanceof Element && event.target.closest("button")) event.preventDefault();
    });
    this.none = () => pressed("none");
  }

  /** @param {Class[]} classes */
  use(classes) {
    this.classes = classes;
    this.keys = assign(classes.filter((one) => !one.is_inner).map((one) => one.name), this.place);
    this.#draw();
  }

  /** @param {string} name of a class that has just been made */
  join(name) {
    if (this.classes.some((one) => one.name === name)) return;
    this.use([...this.classes, { name, count: 0, is_learnt: false, is_inner: false }]);
  }

  /**
   * Whether a folder holds classes: a picture in it is of one of them, nobody knows which.
   * @param {string | null} name
   */
  isInner(name) {
    return this.classes.some((one) => one.name === name && one.is_inner);
  }

  /** @param {string} key */
  withKey(key) {
    for (const [name, one] of this.keys) if (one === key) return name;
    return null;
  }

  /**
   * Show what Enter would do.
   * @param {string | null} name the class that would be accepted
   * @param {(Node | string)[]} says
   * @param {boolean} isPossible
   */
  propose(name, says, isPossible) {
    fill(this.accept, el("span", {}, ...says), key("⏎"));
    /** @type {HTMLButtonElement} */ (this.accept).disabled = !isPossible;
    if (this.proposed === name) return;
    this.proposed = name;
    for (const button of this.list.querySelectorAll("button")) {
      button.classList.toggle("is-proposed", button.dataset.name === name && name !== null);
    }
  }

  /** @param {(Node | string)[]} sentence of what was done last */
  say(sentence) {
    fill(this.last, ...sentence);
  }

  /** Have the name of a class typed. */
  ask() {
    this.field.focus();
    this.field.select();
  }

  #draw() {
    const wanted = this.field.value.trim();
    const classes = this.#matching(wanted);
    const isNew = wanted !== "" && !this.classes.some((one) => one.name === wanted);
    fill(
      this.list,
      ...classes.map((one) => this.#button(one)),
      isNew && el("button", { class: "class is-new", onclick: () => this.#pick(wanted, true) },
        el("span", {}, ...nodes("New class {name}", { name: wanted }))),
      !wanted && el("button", { class: "class is-none", onclick: this.none }, key("0"), el("span", {}, t("None of these"))),
    );
  }

  /** @param {string} wanted */
  #matching(wanted) {
    const classes = this.classes.filter((one) => !one.is_inner);
    if (!wanted) return classes;
    const folded = wanted.toLocaleLowerCase();
    const found = classes.filter((one) => one.name.toLocaleLowerCase().includes(folded));
    const rank = (/** @type {Class} */ one) => (one.name.toLocaleLowerCase().startsWith(folded) ? 0 : 1);
    return found.sort((a, b) => rank(a) - rank(b));
  }

  /** @param {Class} one */
  #button(one) {
    const shortcut = this.keys.get(one.name);
    const button = el(
      "button",
      {
        class: one.name === this.proposed ? "class is-proposed" : "class",
        dataset: { name: one.name },
        onclick: () => this.#pick(one.name, false),
        ondragover: (/** @type {DragEvent} */ event) => event.preventDefault(),
        ondrop: (/** @type {DragEvent} */ event) => this.#drop(event, one.name),
      },
      shortcut ? key(shortcut) : el("span", { class: "no-key" }),
      bdi(one.name),
      el("span", { class: "count" }, one.count ? number(one.count) : ""),
    );
    return button;
  }

  /**
   * @param {DragEvent} event
   * @param {string} name
   */
  #drop(event, name) {
    event.preventDefault();
    const ids = event.dataTransfer?.getData("application/x-imagesortd");
    if (ids) this.dropped(name, JSON.parse(ids));
  }

  /** @param {KeyboardEvent} event */
  #typed(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") this.#pick(null, false);
    if (event.key !== "Enter" || !this.field.value.trim()) return;
    const wanted = this.field.value.trim();
    const exact = this.classes.find((one) => one.name === wanted);
    const match = exact ?? this.#matching(wanted).find((one) => startsWith(one.name, wanted));
    this.#pick(match && !event.shiftKey ? match.name : wanted, !match || event.shiftKey);
    event.preventDefault();
  }

  /**
   * @param {string | null} name
   * @param {boolean} isNew
   */
  #pick(name, isNew) {
    this.field.value = "";
    this.field.blur();
    this.#draw();
    if (name !== null) this.picked(name, isNew);
  }
}

/**
 * @param {string} name
 * @param {string} wanted
 */
function startsWith(name, wanted) {
  return name.toLocaleLowerCase().startsWith(wanted.toLocaleLowerCase());
}

/** @param {string} text */
function key(text) {
  return el("kbd", { "aria-hidden": "true" }, text);
}

/**
 * @param {string} name
 * @param {string} says
 * @param {string} shortcut
 * @param {(command: string) => void} pressed
 */
function command(name, says, shortcut, pressed) {
  return el("button", { class: "action", dataset: { command: name }, onclick: () => pressed(name) },
    el("span", {}, says), key(shortcut));
}
