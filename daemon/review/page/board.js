/** A board of pictures in sections: which one is current, which are chosen, and where the arrows lead. */

import { el } from "./dom.js";
import { between, destination, nearest } from "./order.js";
import { Section } from "./section.js";
import { idOf, put, Tiling } from "./tiling.js";

/** @typedef {import("./types.js").Picture} Picture */
/** @typedef {{id: string, section: Section, next: string | undefined}} Place where a picture was */

/** Pictures that are left after the current one when more are asked for. */
const FEW = 40;

export class Board {
  /**
   * @param {object} wishes
   * @param {(picture: Picture) => HTMLElement} wishes.tile makes what is shown of a picture
   * @param {() => void} wishes.moved the current picture or the choice is another one
   * @param {() => void} wishes.wanted few pictures are left
   * @param {(picture: Picture) => void} wishes.opened a picture was double-clicked
   */
  constructor({ tile, moved, wanted, opened }) {
    this.root = el("div", { class: "board" });
    this.moved = moved;
    this.wanted = wanted;
    /** @type {Map<string, Picture>} those that were taken off, too: they may come back */
    this.pictures = new Map();
    /** @type {Section[]} */
    this.sections = [];
    /** @type {Map<string, Section>} by the pictures on the board */
    this.sectionOf = new Map();
    /** @type {Set<string>} */
    this.chosen = new Set();
    /** @type {string | null} */
    this.current = null;
    /** @type {string | null} */
    this.anchor = null;
    this.tiling = new Tiling(this.root, (id) => tile(this.#picture(id)));
    // A tile that got the focus before the click would be the beginning of the range, too.
    this.root.addEventListener("mousedown", (event) => event.shiftKey && event.preventDefault());
    this.root.addEventListener("click", (event) => this.#clicked(event));
    this.root.addEventListener("focusin", (event) => this.#focused(event));
    this.root.addEventListener("dblclick", (event) => {
      const id = idAt(event.target);
      if (id !== null) opened(this.#picture(id));
    });
    this.end = el("div", { class: "board-end" });
    this.root.append(this.end);
    this.drawing = () => this.#draw();
    addEventListener("scroll", this.drawing, { passive: true });
    addEventListener("resize", this.drawing); // the window may become higher alone
    this.resizing = new ResizeObserver(this.drawing);
    this.resizing.observe(this.root);
    this.watcher = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && wanted(), {
      rootMargin: "1200px",
    });
    this.watcher.observe(this.end);
  }

  close() {
    removeEventListener("scroll", this.drawing);
    removeEventListener("resize", this.drawing);
    this.resizing.disconnect();
    this.watcher.disconnect();
  }

  /**
   * Add a section of pictures.
   * @param {string} label for a screen reader
   * @param {HTMLElement | null} heading
   */
  section(label, heading = null) {
    const section = new Section(label, heading);
    this.sections.push(section);
    this.end.before(section.element);
    return section;
  }

  /**
   * Put pictures at the end of a section, while it is on the board; those that are there already are left out.
   * @param {Section} section
   * @param {Picture[]} pictures
   * @param {string} [next] the picture that they are put before
   */
  add(section, pictures, next) {
    if (!this.sections.includes(section)) return;
    const ids = [];
    for (const picture of pictures) {
      if (this.pictures.has(picture.id)) continue;
      this.pictures.set(picture.id, picture);
      this.sectionOf.set(picture.id, section);
      ids.push(picture.id);
    }
    section.insert(ids, next);
    this.#watchEnd();
    if (this.current === null && ids.length) this.go(ids[0], { focus: false });
    else this.#draw();
  }

  /** The pictures on the board, in their order. */
  get ids() {
    return this.sections.flatMap((section) => section.ids);
  }

  get size() {
    return this.sectionOf.size;
  }

  /** @param {string} id */
  has(id) {
    return this.sectionOf.has(id);
  }

  /** The pictures that a key acts upon: the chosen ones, else the current one. */
  get targets() {
    if (this.chosen.size) return this.ids.filter((id) => this.chosen.has(id)).map((id) => this.#picture(id));
    return this.picture ? [this.picture] : [];
  }

  /** The current picture. */
  get picture() {
    return this.current === null ? null : this.#picture(this.current);
  }

  /**
   * The pictures behind the current one.
   * @param {number} count
   */
  following(count) {
    const { ids } = this;
    const at = this.current === null ? ids.length : ids.indexOf(this.current);
    return ids.slice(at + 1, at + 1 + count).map((id) => this.#picture(id));
  }

  /**
   * Make a picture the current one.
   * @param {string | null} id
   * @param {{extend?: boolean, focus?: boolean}} [how]
   */
  go(id, { extend = false, focus = true } = {}) {
    if (!extend) this.anchor = null;
    else this.anchor ??= this.current;
    this.current = id;
    if (extend && id !== null && this.anchor !== null) this.chosen = new Set(between(this.ids, this.anchor, id));
    this.#draw();
    if (focus && id !== null) this.tiling.tiles.get(id)?.focus({ preventScroll: false });
    this.moved();
  }

  /**
   * Follow an arrow.
   * @param {string} direction
   * @param {boolean} extend
   */
  step(direction, extend) {
    if (!this.size) return;
    const sections = this.sections.map(({ ids }) => ids);
    const id = destination(sections, this.tiling.columns, this.current, direction);
    this.go(id, { extend });
    if (this.following(FEW).length < FEW) this.wanted();
  }

  /** Choose the current picture, or leave it out again. */
  toggle() {
    if (this.current !== null) this.#toggle(this.current);
    this.#draw();
    this.moved();
  }

  chooseAll() {
    this.chosen = new Set(this.ids);
    this.#draw();
    this.moved();
  }

  /** @param {Section} section */
  chooseSection({ ids }) {
    this.chosen = new Set(ids);
    this.go(ids[0] ?? this.current);
  }

  chooseNone() {
    this.chosen.clear();
    this.anchor = null;
    this.#draw();
    this.moved();
  }

  /**
   * Take pictures off the board; the one behind them becomes the current one.
   * @param {Iterable<string>} ids
   * @returns {Place[]} for `restore`
   */
  take(ids) {
    const gone = new Set(ids);
    const hadFocus = this.root.contains(document.activeElement) || document.activeElement === document.body;
    const next = nearest(this.ids, this.current, gone);
    const places = this.#remove(gone);
    this.go(next, { focus: hadFocus });
    if (this.size < FEW) this.wanted();
    return places;
  }

  /**
   * @param {Set<string>} gone
   * @returns {Place[]} in the order of the board
   */
  #remove(gone) {
    const touched = new Set([...gone].map((id) => this.sectionOf.get(id)));
    /** @type {Place[]} */
    const places = [];
    for (const section of this.sections.filter((one) => touched.has(one))) {
      section.ids.forEach((id, at) => gone.has(id) && places.push({ id, section, next: section.ids[at + 1] }));
      section.remove(gone);
    }
    for (const id of gone) {
      this.sectionOf.delete(id);
      this.chosen.delete(id);
    }
    return places;
  }

  /** Take all off, to show others. */
  clear() {
    this.#remove(new Set(this.ids));
    this.go(null);
    this.forget([...this.pictures.keys()]);
    for (const { element } of this.sections) element.remove();
    this.sections = [];
  }

  /** Take the pictures off that lie below all that is seen or chosen, to be shown elsewhere. */
  shorten() {
    const { ids } = this;
    const seen = new Set(this.sections.flatMap((section) => section.ids.slice(0, this.tiling.reached(section))));
    const isKept = (/** @type {string} */ id) => id === this.current || this.chosen.has(id) || seen.has(id);
    const below = ids.slice(ids.findLastIndex(isKept) + 1);
    this.#remove(new Set(below));
    this.forget(below);
    this.#draw();
  }

  /**
   * Put pictures back to where they were, and make the first of them current; not those whose section is gone.
   * @param {Place[]} places
   */
  restore(places) {
    const here = places.filter(({ id, section }) => this.sections.includes(section) && this.pictures.has(id));
    for (const { id, section, next } of [...here].reverse()) {
      if (this.has(id)) continue;
      section.insert([id], next);
      this.sectionOf.set(id, section);
    }
    if (here.length) this.go(here[0].id);
  }

  /**
   * Put pictures on the board that come back from elsewhere: before the current one, which the first of them becomes.
   * @param {Picture[]} pictures
   * @param {string} label of their section, where there is none
   */
  bring(pictures, label) {
    const next = this.current ?? undefined;
    const section = (next !== undefined && this.sectionOf.get(next)) || (this.sections[0] ?? this.section(label));
    this.add(section, pictures, next);
    const first = pictures.find(({ id }) => this.has(id));
    if (first) this.go(first.id);
  }

  /**
   * Forget pictures that will not come back, so that they may be shown anew.
   * @param {Iterable<string>} ids
   */
  forget(ids) {
    for (const id of ids) {
      this.pictures.delete(id);
      this.tiling.forget(id);
    }
  }

  /** Show what the board is like by now. */
  #draw() {
    this.tiling.draw(this.sections, this.current);
    for (const [id, tile] of this.tiling.tiles) {
      put(tile, "aria-selected", this.chosen.has(id));
      put(tile, "tabindex", id === this.current ? 0 : -1);
    }
  }

  /** Hear whether the end is near, even if it was so before: a page may fill less than the window. */
  #watchEnd() {
    this.watcher.unobserve(this.end);
    this.watcher.observe(this.end);
  }

  /** @param {string} id */
  #picture(id) {
    return /** @type {Picture} */ (this.pictures.get(id));
  }

  /** @param {string} id */
  #toggle(id) {
    if (!this.chosen.delete(id)) this.chosen.add(id);
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const id = idAt(event.target);
    if (id === null) return;
    const isTouch = /** @type {PointerEvent} */ (event).pointerType === "touch";
    if (event.shiftKey) return this.go(id, { extend: true });
    if (isTouch || event.ctrlKey || event.metaKey) this.#toggle(id);
    else this.chosen.clear();
    this.go(id);
  }

  /** @param {FocusEvent} event */
  #focused(event) {
    const id = idAt(event.target);
    if (id !== null && id !== this.current) this.go(id, { focus: false });
  }
}

/**
 * The picture whose tile an event is about.
 * @param {EventTarget | null} target
 */
function idAt(target) {
  const tile = target instanceof Element ? target.closest("li[role=option]") : null;
  return tile instanceof HTMLElement ? idOf(tile) : null;
}
