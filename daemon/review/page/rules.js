/** What the keys do in the views where pictures are put into classes. */

import { nodes, percent, t } from "./texts.js";

/** @typedef {import("./types.js").Rules} Rules */

/**
 * @param {Partial<Rules>} [others] in place of these
 * @returns {Rules}
 */
export function labelling(others = {}) {
  return {
    accept: (picture) => (picture.label === null ? null : { kind: "label", to: picture.label }),
    label: (_picture, to, isNew) => ({ kind: "label", to, new: isNew }),
    none: () => ({ kind: "label", to: null }),
    unknown: () => null,
    remove: () => ({ kind: "undo" }),
    proposed: (picture) => picture.label,
    caption,
    acceptance: (name) => (name === null ? [t("Accept")] : nodes("Accept {name}", { name })),
    ...others,
  };
}

/**
 * What is said of a picture in the large view.
 * @param {import("./types.js").Picture} picture
 */
export function caption(picture) {
  if (picture.label === null) return t("no class proposed");
  if (picture.confidence === null) return picture.label;
  return t("{name}, {share} sure", { name: picture.label, share: percent(picture.confidence) });
}
