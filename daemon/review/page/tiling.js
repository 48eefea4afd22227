/**
 * The tiles of a board that are in the document: those at most the height of a window away from it, and the current
 * one. All others only take their room, so that a key takes as long among ten thousand pictures as among ten.
 */

import { style } from "./dom.js";

/** @typedef {import("./section.js").Section} Section */
/** @typedef {{columns: number, across: number, down: number, gap: number}} Grid `across` and `down`: pixels from one tile to the next */

export class Tiling {
  /**
   * @param {HTMLElement} root
   * @param {(id: string) => HTMLElement} make a tile
   */
  constructor(root, make) {
    this.root = root;
    this.make = make;
    /** @type {Map<string, HTMLElement>} */
    this.tiles = new Map();
    /** @type {Grid | null} */
    this.grid = null;
    this.width = 0;
  }

  /** Tiles of a row. */
  get columns() {
    return this.grid?.columns ?? 1;
  }

  /**
   * Put those tiles into the document that belong there, and only those.
   * @param {Section[]} sections
   * @param {string | null} current
   */
  draw(sections, current) {
    const width = this.root.clientWidth;
    const some = sections.find((section) => section.size);
    if (!width) return;
    if (some && width !== this.width) this.#measure(some, width);
    const ranges = sections.map((section) => this.#near(section));
    sections.forEach((section, at) => this.#fill(section, ranges[at], current));
  }

  /**
   * How many pictures of a section begin above the lower edge of the window.
   * @param {Section} section
   */
  reached({ list, size }) {
    if (!this.grid) return size;
    const rows = Math.ceil((innerHeight - list.getBoundingClientRect().top) / this.grid.down);
    return Math.min(Math.max(rows, 0) * this.grid.columns, size);
  }

  /**
   * Look how large tiles are in this width: all are of one size.
   * @param {Section} section one that has a picture
   * @param {number} width
   */
  #measure({ list, ids }, width) {
    const probe = this.make(ids[0]);
    style(this.root, "--row", "auto");
    list.prepend(probe);
    const { gridTemplateColumns, columnGap, rowGap } = getComputedStyle(list);
    const tile = probe.getBoundingClientRect();
    probe.remove();
    const gap = parseFloat(rowGap) || 0;
    const across = tile.width + (parseFloat(columnGap) || 0);
    this.grid = { columns: gridTemplateColumns.split(" ").length, across, down: tile.height + gap, gap };
    style(style(this.root, "--row", `${tile.height}px`), "--column", `${tile.width}px`);
    this.width = width;
  }

  /**
   * The first picture of a section that is near the window, and the one after the last.
   * @param {Section} section
   * @returns {[number, number]}
   */
  #near({ list, size }) {
    if (!this.grid || !size) return [0, 0];
    const { columns, down } = this.grid;
    const { top } = list.getBoundingClientRect();
    const from = Math.max(Math.floor((-innerHeight - top) / down), 0) * columns;
    const to = Math.max(Math.ceil((2 * innerHeight - top) / down), 0) * columns;
    return from < Math.min(to, size) ? [from, Math.min(to, size)] : [0, 0];
  }

  /**
   * @param {Section} section
   * @param {[number, number]} range of the tiles
   * @param {string | null} current
   */
  #fill({ list, ids, size }, [from, to], current) {
    const places = Array.from({ length: to - from }, (_, at) => from + at);
    const at = current === null ? -1 : ids.indexOf(current);
    if (at >= to) places.push(at);
    else if (at >= 0 && at < from) places.unshift(at);
    this.#put(list, places.map((place) => ids[place]));
    if (!this.grid) return;
    const { columns, down, gap } = this.grid;
    style(list, "height", `${Math.ceil(size / columns) * down - gap}px`);
    style(list, "padding-top", `${(from / columns) * down}px`);
    for (const place of places) this.#place(this.get(ids[place]), place, size, place < from || place >= to);
  }

  /**
   * Make a list hold these tiles. Those that stay are not moved: the one that has the focus keeps it.
   * @param {HTMLElement} list
   * @param {string[]} ids
   */
  #put(list, ids) {
    const stay = new Set(ids);
    for (const tile of /** @type {HTMLElement[]} */ ([...list.children])) if (!stay.has(idOf(tile))) this.#remove(tile);
    let at = list.firstElementChild;
    for (const id of ids) {
      const tile = this.get(id);
      if (tile === at) at = at.nextElementSibling;
      else list.insertBefore(tile, at);
    }
  }

  /**
   * Take a tile out whose picture may come back another one, also while the board is not shown.
   * @param {string} id
   */
  forget(id) {
    const tile = this.tiles.get(id);
    if (tile) this.#remove(tile);
  }

  /** @param {HTMLElement} tile */
  #remove(tile) {
    this.tiles.delete(idOf(tile));
    tile.remove();
    // Who scrolls fast does not wait for what has gone by.
    for (const image of tile.querySelectorAll("img")) if (!image.complete) image.removeAttribute("src");
  }

  /**
   * Say which of how many a tile is; a current one that is far from the window lies where it would among the others.
   * @param {HTMLElement} tile
   * @param {number} place
   * @param {number} size
   * @param {boolean} isFar
   */
  #place(tile, place, size, isFar) {
    const { columns, across, down } = /** @type {Grid} */ (this.grid);
    put(tile, "aria-posinset", place + 1);
    put(tile, "aria-setsize", size);
    tile.classList.toggle("is-far", isFar);
    if (!isFar) return;
    style(style(tile, "--top", `${Math.floor(place / columns) * down}px`), "--left", `${(place % columns) * across}px`);
  }

  /**
   * The tile of a picture.
   * @param {string} id
   */
  get(id) {
    let tile = this.tiles.get(id);
    if (!tile) {
      tile = this.make(id);
      tile.dataset.id = id;
      this.tiles.set(id, tile);
    }
    return tile;
  }
}

/** @param {HTMLElement} tile */
export function idOf(tile) {
  return /** @type {string} */ (tile.dataset.id);
}

/**
 * Set an attribute unless it is so already: whoever listens to the page is only told of what changes.
 * @param {HTMLElement} tile
 * @param {string} name
 * @param {string | number | boolean} value
 */
export function put(tile, name, value) {
  if (tile.getAttribute(name) !== String(value)) tile.setAttribute(name, String(value));
}
