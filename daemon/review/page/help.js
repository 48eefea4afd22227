/** The keys, shown by `?`. */

import { el, find } from "./dom.js";
import { t } from "./texts.js";

/** Put the list of keys into the page, hidden. */
export function makeHelp() {
  const rows = [
    ["1 – 9, A – Z", t("the class with this key")],
    ["0", t("none of the classes")],
    ["Enter", t("accept the proposed class; audit: right; quarantine: retry")],
    ["-", t("audit: wrong, whatever the class is")],
    ["Delete", t("back to the inbox, where it stays until it is released")],
    ["Backspace, Ctrl+Z", t("undo the last decision")],
    ["← → ↑ ↓", t("move")],
    [t("Space"), t("large image, and back to the grid")],
    [t("Shift + arrow"), t("select a range")],
    [t("Shift + Space"), t("select or unselect")],
    ["Ctrl+A", t("select all that are shown")],
    ["Esc", t("select nothing, or back to the grid")],
    ["/", t("find a class by its name, or name a new one")],
    ["[ ]", t("previous or next view")],
    ["?", t("show or hide the keys")],
  ];
  const list = el("dl", {});
  for (const [keys, says] of rows) {
    list.append(el("div", {}, el("dt", {}, ...keys.split(", ").map((key) => el("kbd", {}, key))), el("dd", {}, says)));
  }
  const close = el("button", { class: "quiet", "aria-label": t("Close"), onclick: () => toggleHelp(false) }, "×");
  const help = find("#help");
  help.replaceChildren(el("h2", {}, t("Keys")), close, list);
}

/**
 * Show or hide the keys.
 * @param {boolean} [isShown]
 * @returns {boolean} whether that changed anything
 */
export function toggleHelp(isShown) {
  const help = find("#help");
  const wanted = isShown ?? help.hidden;
  if (help.hidden === !wanted) return false;
  help.hidden = !wanted;
  find("#help-button").setAttribute("aria-expanded", String(wanted));
  if (wanted) help.focus();
  return true;
}
