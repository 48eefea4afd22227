/** One picture as large as the window allows; the keys mean what they mean in the grid. */

import { el, fill } from "./dom.js";
import { t } from "./texts.js";
import { thumbnail } from "./types.js";

/** @typedef {import("./types.js").Picture} Picture */

/** Pictures that are fetched before it is their turn. */
export const AHEAD = 4;

export class Large {
  /**
   * @param {object} wishes
   * @param {(picture: Picture) => string} wishes.caption
   * @param {(direction: string) => void} wishes.step
   * @param {() => void} wishes.closed
   */
  constructor({ caption, step, closed }) {
    this.caption = caption;
    this.frame = el("div", { class: "large-frame" });
    this.text = el("figcaption", { class: "large-caption" });
    this.element = el(
      "figure",
      { class: "large", tabindex: "-1", hidden: true },
      el("button", { class: "quiet large-before", "aria-label": t("Previous image"), onclick: () => step("left") }, "‹"),
      this.frame,
      el("button", { class: "quiet large-after", "aria-label": t("Next image"), onclick: () => step("right") }, "›"),
      el("button", { class: "quiet large-close", "aria-label": t("Back to the grid"), onclick: closed }, "×"),
      this.text,
    );
    /** @type {Map<string, HTMLImageElement>} */
    this.fetched = new Map();
  }

  get isOpen() {
    return !this.element.hidden;
  }

  /** @param {boolean} isOpen */
  open(isOpen) {
    this.element.hidden = !isOpen;
    if (isOpen) this.element.focus({ preventScroll: true });
    else this.fetched.clear();
  }

  /**
   * Show a picture, and fetch those that come next.
   * @param {Picture | null} picture
   * @param {Picture[]} following
   */
  show(picture, following) {
    if (!this.isOpen) return;
    if (!picture) {
      this.open(false);
      return;
    }
    const image = this.#fetch(picture);
    image.alt = picture.name;
    if (image.parentElement !== this.frame) fill(this.frame, image);
    fill(this.text, el("bdi", { class: "name" }, picture.name), el("span", {}, this.caption(picture)));
    if (picture.note) this.text.append(el("span", { class: "note" }, picture.note));
    const kept = new Set([picture, ...following].map(({ id }) => id));
    for (const id of this.fetched.keys()) if (!kept.has(id)) this.fetched.delete(id);
    const [next] = following.map((one) => this.#fetch(one));
    next?.decode().catch(() => undefined);
  }

  /** @param {Picture} picture */
  #fetch(picture) {
    let image = this.fetched.get(picture.id);
    if (!image) {
      image = new Image();
      image.decoding = "async";
      image.draggable = false;
      image.src = thumbnail(picture, 1024);
      this.fetched.set(picture.id, image);
    }
    return image;
  }
}
