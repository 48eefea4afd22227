import { PREFIX } from "./api.js";

/**
 * What the modules hand to one another; the server's answers are described in `daemon/review/api.py`.
 *
 * @typedef {object} Picture an image, or one of the model's data set
 * @property {string} id
 * @property {number} number the server's id
 * @property {string} version
 * @property {string} name to be shown as text
 * @property {string | null} folder
 * @property {string | null} label what the model takes it for
 * @property {number | null} confidence
 * @property {string} time
 * @property {string | null} waiting the class of a decision that has not been carried out yet
 * @property {string} path of its thumbnails
 * @property {string} [note] more to be said of it
 * @property {string} [audit]
 *
 * @typedef {Record<string, any>} Decision without its key, as the server takes it
 *
 * @typedef {object} Rules what the keys of a view do; null where nothing can be done
 * @property {(picture: Picture) => Decision | null} accept
 * @property {(picture: Picture, to: string, isNew: boolean) => Decision | null} label
 * @property {(picture: Picture) => Decision | null} none
 * @property {(picture: Picture) => Decision | null} unknown
 * @property {(picture: Picture) => Decision | null} remove
 * @property {(picture: Picture) => string | null} proposed the class that Enter accepts
 * @property {(picture: Picture) => string} caption
 * @property {(name: string | null) => (Node | string)[]} acceptance what the button says that does what Enter does
 */

/**
 * A picture of what the server says of an image.
 * @param {Record<string, any>} image
 * @returns {Picture}
 */
export function picture(image) {
  return {
    id: String(image.id),
    number: image.id,
    version: image.version,
    name: image.name,
    folder: image.folder,
    label: image.label,
    confidence: image.confidence,
    time: image.time,
    waiting: image.waiting ?? null,
    path: String(image.id),
  };
}

/**
 * @param {Picture} of
 * @param {256 | 1024} size
 */
export function thumbnail(of, size) {
  const version = of.version ? `?v=${encodeURIComponent(of.version)}` : "";
  return `${PREFIX}/thumbnails/${of.path}/${size}${version}`;
}
