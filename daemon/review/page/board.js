/** A board of pictures in sections: which one is current, which are chosen, and where the arrows lead. */

import { el } from "./dom.js";

/** @typedef {import("./types.js").Picture} Picture */
/** @typedef {{tile: HTMLElement, list: HTMLElement, next: Element | null}} Place where a tile was */

/** Tiles that are left after the current one when more are asked for. */
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
    this.makeTile = tile;
    this.moved = moved;
    this.wanted = wanted;
    /** @type {Map<string, Picture>} */
    this.pictures = new Map();
    /** @type {Set<string>} */
    this.chosen = new Set();
    /** @type {HTMLElement | null} */
    this.current = null;
    /** @type {HTMLElement | null} */
    this.anchor = null;
    this.root.addEventListener("click", (event) => this.#clicked(event));
    this.root.addEventListener("focusin", (event) => this.#focused(event));
    this.root.addEventListener("dblclick", (event) => {
      const tile_ = tileOf(event.target);
      const picture = tile_ && this.pictures.get(idOf(tile_));
      if (picture) opened(picture);
    });
    this.watcher = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && wanted(), {
      rootMargin: "1200px",
    });
    this.end = el("div", { class: "board-end" });
    this.root.append(this.end);
    this.#watchEnd();
  }

  close() {
    this.watcher.disconnect();
  }

  /**
   * Add a section of pictures.
   * @param {string} label for a screen reader
   * @param {HTMLElement | null} heading
   * @returns {HTMLElement} the list to put pictures in
   */
  section(label, heading = null) {
    const list = el("ul", { role: "listbox", "aria-multiselectable": "true", "aria-label": label, class: "tiles" });
    this.end.before(el("section", { class: "group", "aria-label": label }, heading, list));
    return list;
  }

  /**
   * Put pictures at the end of a list; those that are there already are left out.
   * @param {HTMLElement} list
   * @param {Picture[]} pictures
   * @param {boolean} [first] at the front
   */
  add(list, pictures, first = false) {
    const tiles = [];
    for (const picture of pictures) {
      if (this.pictures.has(picture.id)) continue;
      this.pictures.set(picture.id, picture);
      const tile = this.makeTile(picture);
      tile.dataset.id = picture.id;
      tiles.push(tile);
    }
    if (first) list.prepend(...tiles);
    else list.append(...tiles);
    showSection(list);
    this.#watchEnd();
    if (!this.current && tiles.length) this.go(tiles[0], { focus: false });
  }

  /** @returns {HTMLElement[]} */
  get tiles() {
    return /** @type {HTMLElement[]} */ ([...this.root.querySelectorAll("li[role=option]")]);
  }

  /** The pictures that a key acts upon: the chosen ones, else the current one. */
  get targets() {
    if (this.chosen.size) return this.tiles.map(idOf).filter((id) => this.chosen.has(id)).map((id) => this.#picture(id));
    return this.picture ? [this.picture] : [];
  }

  /** The current picture. */
  get picture() {
    return this.current ? this.#picture(idOf(this.current)) : null;
  }

  /**
   * Make a picture the current one.
   * @param {HTMLElement | null} tile
   * @param {{extend?: boolean, focus?: boolean}} [how]
   */
  go(tile, { extend = false, focus = true } = {}) {
    if (this.current && this.current !== tile) this.current.tabIndex = -1;
    if (extend && this.current && !this.anchor) this.anchor = this.current;
    if (!extend) this.anchor = null;
    this.current = tile;
    if (tile) {
      tile.tabIndex = 0;
      if (extend && this.anchor) this.#choose(between(this.tiles, this.anchor, tile));
      if (focus) tile.focus({ preventScroll: false });
    }
    this.moved();
  }

  /**
   * Follow an arrow.
   * @param {string} direction
   * @param {boolean} extend
   */
  step(direction, extend) {
    const tiles = this.tiles;
    if (!tiles.length) return;
    const at = this.current ? tiles.indexOf(this.current) : -1;
    const to = this.current ? destination(tiles, at, direction) : 0;
    this.go(tiles[to], { extend });
    if (tiles.length - to < FEW) this.wanted();
  }

  /** Choose the current picture, or leave it out again. */
  toggle() {
    if (this.current) this.#toggle(this.current);
    this.moved();
  }

  chooseAll() {
    this.#choose(this.tiles);
    this.moved();
  }

  /** @param {HTMLElement} list */
  chooseList(list) {
    const tiles = /** @type {HTMLElement[]} */ ([...list.children]);
    this.#choose(tiles);
    this.go(tiles[0] ?? this.current);
  }

  chooseNone() {
    for (const tile of this.tiles) tile.setAttribute("aria-selected", "false");
    this.chosen.clear();
    this.anchor = null;
    this.moved();
  }

  /**
   * Take pictures off the board; the one behind them becomes the current one.
   * @param {Iterable<string>} ids
   * @returns {Place[]} for `restore`
   */
  take(ids) {
    const gone = new Set(ids);
    const tiles = this.tiles;
    const hadFocus = this.root.contains(document.activeElement) || document.activeElement === document.body;
    const at = this.current ? tiles.indexOf(this.current) : 0;
    const next = nearest(tiles, at, gone);
    /** @type {Place[]} */
    const places = [];
    for (const tile of tiles) {
      if (!gone.has(idOf(tile))) continue;
      const list = /** @type {HTMLElement} */ (tile.parentElement);
      places.push({ tile, list, next: tile.nextElementSibling });
      this.chosen.delete(idOf(tile));
      tile.setAttribute("aria-selected", "false");
    }
    for (const { tile, list } of places) {
      tile.remove();
      showSection(list);
    }
    this.go(next, { focus: hadFocus });
    if (tiles.length - gone.size < FEW) this.wanted();
    return places;
  }

  /** Take the pictures off that lie below all that is seen or chosen, to be shown elsewhere. */
  shorten() {
    const tiles = this.tiles;
    const isKept = (/** @type {HTMLElement} */ tile) =>
      tile === this.current || this.chosen.has(idOf(tile)) || tile.getBoundingClientRect().top < innerHeight;
    const below = tiles.slice(tiles.findLastIndex(isKept) + 1);
    for (const tile of below) {
      const list = /** @type {HTMLElement} */ (tile.parentElement);
      tile.remove();
      showSection(list);
    }
    this.forget(below.map(idOf));
  }

  /**
   * Put tiles back to where they were, and make the first of them current; not those whose section is gone.
   * @param {Place[]} places
   */
  restore(places) {
    const here = places.filter(({ tile, list }) => this.root.contains(list) && this.pictures.has(idOf(tile)));
    for (const { tile, list, next } of [...here].reverse()) {
      if (tile.isConnected) continue;
      list.insertBefore(tile, next?.parentElement === list ? next : null);
      showSection(list);
    }
    if (here.length) this.go(here[0].tile);
  }

  /**
   * Put pictures on the board that come back from elsewhere: before the current one, which the first of them becomes.
   * @param {Picture[]} pictures
   * @param {string} label of their section, where there is none
   */
  bring(pictures, label) {
    const before = this.current;
    const some = /** @type {HTMLElement | null} */ (before?.parentElement ?? this.root.querySelector("ul.tiles"));
    const missing = pictures.filter(({ id }) => !this.pictures.has(id));
    this.add(some ?? this.section(label), missing, true);
    before?.before(...missing.map(({ id }) => /** @type {HTMLElement} */ (this.#tile(id))));
    const first = pictures.map(({ id }) => this.#tile(id)).find((tile) => tile !== null);
    if (first) this.go(first);
  }

  /**
   * Forget pictures that will not come back, so that they may be shown anew.
   * @param {Iterable<string>} ids
   */
  forget(ids) {
    for (const id of ids) this.pictures.delete(id);
  }

  /** @param {string} id */
  has(id) {
    return this.#tile(id) !== null;
  }

  get size() {
    return this.tiles.length;
  }

  /** Hear whether the end is near, even if it was so before: a page may fill less than the window. */
  #watchEnd() {
    this.watcher.unobserve(this.end);
    this.watcher.observe(this.end);
  }

  /**
   * @param {string} id
   * @returns {HTMLElement | null}
   */
  #tile(id) {
    return this.root.querySelector(`li[data-id="${CSS.escape(id)}"]`);
  }

  /** @param {string} id */
  #picture(id) {
    return /** @type {Picture} */ (this.pictures.get(id));
  }

  /** @param {HTMLElement[]} tiles */
  #choose(tiles) {
    const wanted = new Set(tiles);
    this.chosen.clear();
    for (const tile of this.tiles) {
      tile.setAttribute("aria-selected", String(wanted.has(tile)));
      if (wanted.has(tile)) this.chosen.add(idOf(tile));
    }
  }

  /** @param {HTMLElement} tile */
  #toggle(tile) {
    const id = idOf(tile);
    if (!this.chosen.delete(id)) this.chosen.add(id);
    tile.setAttribute("aria-selected", String(this.chosen.has(id)));
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const tile = tileOf(event.target);
    if (!tile) return;
    const isTouch = /** @type {PointerEvent} */ (event).pointerType === "touch";
    if (event.shiftKey) return this.go(tile, { extend: true });
    if (isTouch || event.ctrlKey || event.metaKey) this.#toggle(tile);
    else if (this.chosen.size) this.chooseNone();
    this.go(tile);
  }

  /** @param {FocusEvent} event */
  #focused(event) {
    const tile = tileOf(event.target);
    if (tile && tile !== this.current) this.go(tile, { focus: false });
  }
}

/** @param {HTMLElement} tile */
export function idOf(tile) {
  return /** @type {string} */ (tile.dataset.id);
}

/**
 * @param {EventTarget | null} target
 * @returns {HTMLElement | null}
 */
function tileOf(target) {
  return target instanceof Element ? target.closest("li[role=option]") : null;
}

/**
 * Hide the section of a list that is empty.
 * @param {HTMLElement} list
 */
function showSection(list) {
  const section = list.closest("section");
  if (section) section.hidden = !list.childElementCount;
}

/**
 * @param {HTMLElement[]} tiles
 * @param {HTMLElement} one
 * @param {HTMLElement} other
 */
function between(tiles, one, other) {
  const [from, to] = [tiles.indexOf(one), tiles.indexOf(other)].sort((a, b) => a - b);
  return tiles.slice(Math.max(from, 0), to + 1);
}

/**
 * The tile that comes after those that go; before them where there is none.
 * @param {HTMLElement[]} tiles
 * @param {number} at
 * @param {Set<string>} gone
 */
function nearest(tiles, at, gone) {
  for (let i = Math.max(at, 0); i < tiles.length; i += 1) if (!gone.has(idOf(tiles[i]))) return tiles[i];
  for (let i = at; i >= 0; i -= 1) if (tiles[i] && !gone.has(idOf(tiles[i]))) return tiles[i];
  return null;
}

/**
 * @param {HTMLElement[]} tiles
 * @param {number} at
 * @param {string} direction
 */
function destination(tiles, at, direction) {
  const last = tiles.length - 1;
  switch (direction) {
    case "left":
      return Math.max(at - 1, 0);
    case "right":
      return Math.min(at + 1, last);
    case "first":
      return 0;
    case "last":
      return last;
    default:
      return inOtherRow(tiles, at, direction === "down" ? 1 : -1);
  }
}

/**
 * The tile of the next row, or of the one before, that is nearest in it.
 * @param {HTMLElement[]} tiles
 * @param {number} at
 * @param {1 | -1} way
 */
function inOtherRow(tiles, at, way) {
  const here = tiles[at].getBoundingClientRect();
  let best = at;
  let row = null;
  for (let i = at + way; i >= 0 && i < tiles.length; i += way) {
    const there = tiles[i].getBoundingClientRect();
    if (Math.abs(there.top - here.top) < here.height / 2) continue;
    if (row !== null && Math.abs(there.top - row) > here.height / 2) break;
    if (row === null) [row, best] = [there.top, i];
    const distance = Math.abs(there.left - here.left);
    if (distance < Math.abs(tiles[best].getBoundingClientRect().left - here.left)) best = i;
  }
  return best;
}
