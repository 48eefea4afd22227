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
    /** @type {Set<string>} classes that were named here, and may have to be made yet */
    this.named = new Set();
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
    this.large = command("large", t("Larger"), "␣", pressed);
    this.accept = el("button", { class: "action accept", onclick: () => pressed("accept") });
    this.actions = el(
      "div",
      { class: "actions" },
      this.accept,
      command("unknown", t("Wrong"), "-", pressed),
      this.large,
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

  /**
   * Take over the classes that there are now, and how many images are in each.
   * @param {Class[]} classes
   */
  renew(classes) {
    const are = new Set(classes.map((one) => one.name));
    const named = this.classes.filter((one) => this.named.has(one.name) && !are.has(one.name));
    const all = [...classes, ...named];
    const isSame = all.length === this.classes.length && all.every((one, at) => isLike(one, this.classes[at]));
    if (!isSame) return this.use(all);
    this.classes = all;
    const counts = new Map(all.map((one) => [one.name, one.count]));
    for (const button of this.list.querySelectorAll("button[data-name]")) {
      const count = counts.get(/** @type {HTMLElement} */ (button).dataset.name ?? "");
      fill(/** @type {Element} */ (button.querySelector(".count")), count ? number(count) : "");
    }
  }

  /** @param {boolean} isLarge whether the large picture is shown */
  showLarge(isLarge) {
    fill(/** @type {Element} */ (this.large.querySelector("span")), isLarge ? t("Smaller") : t("Larger"));
  }

  /** @param {string} name of a class that has just been made */
  join(name) {
    this.named.add(name);
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
    const wanted = this.#wanted;
    const classes = this.#matching(wanted);
    const taken = this.#taken(wanted);
    const made = wanted && !this.#exact(wanted) && el("button", { class: taken ? "class is-new" : "class is-new is-proposed", onclick: () => this.#pick(wanted, true) },
      taken ? el("span", { class: "no-key" }) : key("⏎"), el("span", {}, ...nodes("New class {name}", { name: wanted })));
    fill(
      this.list,
      !taken && made,
      ...classes.map((one) => this.#button(one, one === taken ? "⏎" : this.keys.get(one.name), wanted ? one === taken : one.name === this.proposed)),
      taken && made,
      !wanted && el("button", { class: "class is-none", onclick: this.none }, key("0"), el("span", {}, t("None of these"))),
    );
  }

  /** What is typed, as names of classes mostly are written. */
  get #wanted() {
    return this.field.value.trim().normalize("NFC");
  }

  /** @param {string} wanted */
  #exact(wanted) {
    return this.classes.find((one) => one.name.normalize("NFC") === wanted);
  }

  /**
   * The class that Enter takes, where it makes no new one.
   * @param {string} wanted
   */
  #taken(wanted) {
    if (!wanted) return undefined;
    return this.#exact(wanted) ?? this.#matching(wanted).find((one) => rank(one.name, fold(wanted)) < 2);
  }

  /** @param {string} wanted */
  #matching(wanted) {
    const classes = this.classes.filter((one) => !one.is_inner);
    if (!wanted) return classes;
    const folded = fold(wanted);
    const found = classes.filter((one) => fold(one.name).includes(folded));
    return found.sort((a, b) => rank(a.name, folded) - rank(b.name, folded));
  }

  /**
   * @param {Class} one
   * @param {string | undefined} shortcut
   * @param {boolean} isProposed
   */
  #button(one, shortcut, isProposed) {
    const button = el(
      "button",
      {
        class: isProposed ? "class is-proposed" : "class",
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
    const wanted = this.#wanted;
    if (event.key !== "Enter" || !wanted) return;
    const match = this.#taken(wanted);
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
 * How well the name of a class fits what is typed: it begins with it, a class in it does, or it has it somewhere.
 * @param {string} name
 * @param {string} folded
 */
function rank(name, folded) {
  const within = fold(name);
  if (within.startsWith(folded)) return 0;
  return within.includes(`/${folded}`) ? 1 : 2;
}

/** @param {string} name */
function fold(name) {
  return name.normalize("NFC").toLocaleLowerCase();
}

/**
 * Whether a class is shown as another one is, but for the number of its images.
 * @param {Class} one
 * @param {Class} other
 */
function isLike(one, other) {
  return one.name === other.name && one.is_inner === other.is_inner;
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
