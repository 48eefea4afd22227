/** What each key means: the same in the grid and in the large view, on every layout of the keyboard. */

/**
 * @typedef {object} Press
 * @property {"class" | "command"} kind
 * @property {string} name the character of a class, or the name of a command
 * @property {boolean} extend whether it extends the selection
 */

/** @type {Record<string, string>} */
const COMMANDS = {
  Enter: "accept",
  " ": "large",
  Backspace: "undo",
  Delete: "remove",
  Escape: "back",
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
  Home: "first",
  End: "last",
  "?": "help",
  "/": "find",
  "0": "none",
  "-": "unknown",
  "[": "previous-view",
  "]": "next-view",
};

/** The characters that classes get, in this order. */
export const CLASS_KEYS = "123456789abcdefghijklmnopqrstuvwxyz";

/**
 * Read a key press; null where it means nothing here. Letters and digits go by the place of the key where the
 * layout has no Latin letter on it, as that of Hangul.
 * @param {KeyboardEvent} event
 * @returns {Press | null}
 */
export function read(event) {
  if (event.altKey) return null;
  if (event.ctrlKey || event.metaKey) return withControl(event);
  const character = characterOf(event);
  const command = COMMANDS[character];
  if (command === "large" && event.shiftKey) return { kind: "command", name: "select", extend: true };
  if (command) return { kind: "command", name: command, extend: event.shiftKey };
  if (character.length === 1 && CLASS_KEYS.includes(character) && !event.shiftKey) {
    return { kind: "class", name: character, extend: false };
  }
  return null;
}

/**
 * @param {KeyboardEvent} event
 * @returns {Press | null}
 */
function withControl(event) {
  const letter = characterOf(event).toLowerCase();
  if (letter === "a") return { kind: "command", name: "select-all", extend: true };
  if (letter === "z" && !event.shiftKey) return { kind: "command", name: "undo", extend: false };
  return null;
}

/** @param {KeyboardEvent} event */
function characterOf(event) {
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code);
  if (digit && !event.shiftKey) return digit[1];
  if (/^[\x20-\x7e]$/.test(event.key) || event.key in COMMANDS) return event.key;
  const letter = /^Key([A-Z])$/.exec(event.code);
  if (letter) return letter[1].toLowerCase();
  return event.code === "Slash" && event.shiftKey ? "?" : event.key;
}

/**
 * Whether a press belongs to the element that has the focus: text that is typed, and buttons that are pressed.
 * @param {KeyboardEvent} event
 */
export function isForElement(event) {
  const element = event.target;
  if (!(element instanceof HTMLElement)) return false;
  if (element.matches("input, textarea, select")) return true;
  const presses = event.key === "Enter" || event.key === " ";
  return presses && element.matches("button, a, summary");
}
