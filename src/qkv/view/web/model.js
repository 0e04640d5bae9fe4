// @ts-check
/**
 * What is shown: maps of layers x heads, of which one head at a time is fetched and unpacked.
 *
 * Labels arrive ready to be shown: escapes for what is invisible, and isolates (U+2068 ... U+2069)
 * around what runs from right to left.
 *
 * @typedef {{ labels: string[], of: number[] }} Words  of: for each token, its word
 * @typedef {{ title: string, note: string, kind: string, layers: number, heads: number,
 *   target: string[], source: string[], bits: number, largest: number[],
 *   measure: string, signed: boolean,
 *   words: [Words, Words] | null,
 *   allowed: { layers: number, heads: number, bits: string[] } | null,
 *   thumbs: { rows: number, columns: number, levels: string } | null }} Maps
 * @typedef {{ light: string[], dark: string[] }} Ramps
 * @typedef {{ title: string, ramps: Ramps, signed: Ramps, tops: number[], families: string,
 *   maps: Maps[] }} Page
 * @typedef {{ map: number, layer: number, head: number, words: boolean }} Choice  head: or MEAN
 * @typedef {{ title: string, note: string, target: string[], source: string[],
 *   values: Float32Array | Float64Array, bits: number, allowed: Uint8Array | null,
 *   largest: number, measure: string, signed: boolean }} Heat  one matrix, ready to be drawn;
 *   measure: what a number is called: weight, value, share, difference
 * @typedef {(map: number, layer: number, head: number) => Promise<Uint8Array>} Fetch
 * @typedef {(choice: Choice) => Promise<Heat>} Load
 */

import { fromBase64, most, unpack } from "./numbers.js";

export const MEAN = -1;
const KEPT = 64_000_000; // bytes of unpacked heads that are kept for a second look

/** Without the isolates, for what is searched or taken elsewhere. @param {string} label */
export const plain = (label) => label.replace(/[\u2068\u2069]/g, "");

/** Which head, in words: what every title says. @param {Maps} maps @param {Choice} choice */
export function describe(maps, { layer, head, words }) {
  const many = maps.layers * maps.heads > 1;
  return [
    maps.kind === "attention" ? "" : maps.kind,
    many ? `layer ${layer}` : "",
    many ? (head === MEAN ? `mean of ${maps.heads} heads` : `head ${head}`) : "",
    maps.words ? (words ? "words" : "tokens") : "",
  ].filter(Boolean).join(", ");
}

/** @param {Page} page @param {Fetch} fetchHead @returns {Load} */
export function loader(page, fetchHead) {
  /** @type {Map<string, Float32Array | Float64Array>} the last used last */
  const kept = new Map();

  /** @param {number} map @param {number} layer @param {number} head */
  async function one(map, layer, head) {
    const [key, { bits, heads, largest, signed }] = [`${map}.${layer}.${head}`, page.maps[map]];
    const values = kept.get(key) ??
      unpack(await fetchHead(map, layer, head), bits, largest[layer * heads + head], signed);
    kept.delete(key);
    kept.set(key, values);
    let bytes = 0;
    for (const [name, { byteLength }] of [...kept].reverse())
      if ((bytes += byteLength) > KEPT && name !== key) kept.delete(name);
    return values;
  }

  /** @param {number} map @param {number} layer */
  async function mean(map, layer) {
    const { heads, target, source } = page.maps[map];
    const sum = new Float64Array(target.length * source.length);
    for (let head = 0; head < heads; head++) {
      const values = await one(map, layer, head);
      for (let i = 0; i < sum.length; i++) sum[i] += values[i];
    }
    return sum.map((value) => value / heads);
  }

  return async (choice) => {
    const { map, layer, head } = choice;
    const maps = page.maps[map];
    const averaged = head === MEAN && maps.heads > 1;
    const values = averaged ? await mean(map, layer) : await one(map, layer, Math.max(head, 0));
    const which = describe(maps, choice);
    const heat = {
      title: [maps.title, which].filter(Boolean).join(" · "), note: maps.note,
      target: maps.target, source: maps.source, values, bits: averaged ? 64 : maps.bits,
      allowed: allowedIn(maps, layer, head), largest: most(values),
      measure: maps.measure, signed: maps.signed,
    };
    return choice.words && maps.words ? merged(heat, maps.words) : heat;
  };
}

/** 1 where a head may attend; of a mean, where any may. @param {Maps} maps @param {number} layer @param {number} head */
function allowedIn({ allowed, target, source }, layer, head) {
  if (!allowed) return null;
  const first = (allowed.layers > 1 ? layer : 0) * allowed.heads;
  const chosen = allowed.heads === 1 ? [0] : head === MEAN ? [...Array(allowed.heads).keys()] : [head];
  const may = new Uint8Array(target.length * source.length);
  for (const place of chosen) {
    const bits = fromBase64(allowed.bits[first + place]);
    for (let i = 0; i < may.length; i++) may[i] |= (bits[i >> 3] >> (i & 7)) & 1;
  }
  return may;
}

/** Source tokens added, target tokens averaged: mass is kept. @param {Heat} heat @param {[Words, Words]} words @returns {Heat} */
function merged(heat, [target, source]) {
  const [rows, columns, tokens] = [target.labels.length, source.labels.length, source.of.length];
  const values = new Float64Array(rows * columns);
  const may = heat.allowed && new Uint8Array(rows * columns);
  const sizes = new Float64Array(rows);
  for (const word of target.of) sizes[word]++;
  target.of.forEach((row, i) => source.of.forEach((column, j) => {
    values[row * columns + column] += heat.values[i * tokens + j] / sizes[row];
    if (may && heat.allowed) may[row * columns + column] |= heat.allowed[i * tokens + j];
  }));
  return {
    ...heat, target: target.labels, source: source.labels, values, bits: 64, allowed: may,
    largest: most(values),
    note: [heat.note, "source tokens of a word added, target tokens averaged"].filter(Boolean).join("; "),
  };
}

/** What the first has more than the second. @param {Heat} a @param {Heat} b @returns {Heat} */
export function difference(a, b) {
  const values = Float64Array.from(a.values, (value, i) => value - b.values[i]);
  const other = b.allowed;
  const either = a.allowed && other && a.allowed.map((may, i) => may | other[i]); // a weight in one at least
  const title = "first − second";
  return { ...a, title, note: "", values, bits: 64, allowed: either, largest: most(values), measure: "difference", signed: true };
}
