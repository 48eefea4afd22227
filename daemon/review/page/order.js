/** Where the arrows lead on a board, and what lies between two of its pictures. */

/**
 * @param {string[]} ids
 * @param {string} one
 * @param {string} other
 */
export function between(ids, one, other) {
  const [from, to] = [ids.indexOf(one), ids.indexOf(other)].sort((a, b) => a - b);
  return ids.slice(Math.max(from, 0), to + 1);
}

/**
 * The picture that comes after those that go; before them where there is none.
 * @param {string[]} ids
 * @param {string | null} current
 * @param {Set<string>} gone
 */
export function nearest(ids, current, gone) {
  const at = current === null ? 0 : Math.max(ids.indexOf(current), 0);
  const isLeft = (/** @type {string} */ id) => !gone.has(id);
  return ids.slice(at).find(isLeft) ?? ids.slice(0, at).findLast(isLeft) ?? null;
}

/**
 * @param {string[][]} sections the ids of each
 * @param {number} columns
 * @param {string | null} current the first, where there is none
 * @param {string} direction
 * @returns {string}
 */
export function destination(sections, columns, current, direction) {
  const ids = sections.flat();
  if (current === null) return ids[0];
  const at = ids.indexOf(current);
  switch (direction) {
    case "left":
      return ids[Math.max(at - 1, 0)];
    case "right":
      return ids[Math.min(at + 1, ids.length - 1)];
    case "first":
      return ids[0];
    case "last":
      return ids[ids.length - 1];
    default:
      return inOtherRow(sections, columns, current, direction === "down" ? 1 : -1);
  }
}

/**
 * The picture of the next row, or of the one before, that is nearest.
 * @param {string[][]} sections
 * @param {number} columns
 * @param {string} current
 * @param {1 | -1} way
 */
function inOtherRow(sections, columns, current, way) {
  const rows = sections.flatMap((ids) => inRows(ids, columns));
  const at = rows.findIndex((row) => row.includes(current));
  const row = rows[at + way];
  return row ? row[Math.min(rows[at].indexOf(current), row.length - 1)] : current;
}

/**
 * @param {string[]} ids
 * @param {number} columns
 */
function inRows(ids, columns) {
  return Array.from({ length: Math.ceil(ids.length / columns) }, (_, row) => ids.slice(row * columns, (row + 1) * columns));
}
