/** What decisions come to, in a sentence. */

import { countedNodes, percent, t } from "./texts.js";

/**
 * @param {import("./types.js").Decision[]} decisions
 * @returns {(Node | string)[]}
 */
export function sentenceOf(decisions) {
  const count = decisions.length;
  const [first] = decisions;
  const classes = new Set(decisions.map((decision) => decision.to ?? null));
  switch (first.kind) {
    case "retry":
      return countedNodes("{count} image is tried again", "{count} images are tried again", count);
    case "undo":
      return countedNodes("{count} image goes back to the inbox", "{count} images go back to the inbox", count);
    case "audit":
      return first.right
        ? countedNodes("{count} image is right", "{count} images are right", count)
        : countedNodes("{count} image is wrong", "{count} images are wrong", count);
    default:
      if (classes.size > 1) return countedNodes("{count} image accepted", "{count} images accepted", count);
      if (first.to === null) {
        return countedNodes("{count} image is none of the classes", "{count} images are none of the classes", count);
      }
      return countedNodes("{count} image: {name}", "{count} images: {name}", count, { name: first.to });
  }
}

/**
 * How much better the model is since its last lesson; empty where that is not known.
 * @param {{before: number | null, after: number | null} | null} lesson
 */
export function learnt(lesson) {
  if (!lesson || lesson.before === null || lesson.after === null) return "";
  return t("The model has learned from what you said: {before} → {after} right, of images that it never learned from.", {
    before: percent(lesson.before),
    after: percent(lesson.after),
  });
}
