// @ts-check
/**
 * One heat map: its numbers, colours and layout, and what can be made of it (SVG, CSV).
 *
 * Labels arrive ready to be shown: escapes for what is invisible, and isolates (U+2068 ... U+2069)
 * around what runs from right to left.
 *
 * @typedef {{ title: string, note: string, target: string[], source: string[],
 *   bits: 32 | 64, weights: string }} Figure  weights: base64 of little-endian floats, row by row
 * @typedef {{ title: string, ramps: { light: string[], dark: string[] }, tops: number[],
 *   families: string, figures: Figure[] }} Page
 * @typedef {{ figure: Figure, values: Float32Array | Float64Array, largest: number }} Heat
 * @typedef {{ cell: number, font: number, left: number, rise: number, reach: number,
 *   slanted: boolean[], everyRow: number, everyColumn: number }} Layout
 */

const ANGLE = 55; // degrees of a slanted label
const GAP = 7; // between a label and its cell
const CORNER = 58; // room for the names of the axes
const LEGEND = 180;
const pen = /** @type {CanvasRenderingContext2D} */ (
  document.createElement("canvas").getContext("2d")
);

/* ---------------------------------------------------------------- numbers and colours */

/** The largest of the numbers, or 0. @param {Iterable<number>} numbers */
function most(numbers) {
  let largest = 0;
  for (const number of numbers) if (number > largest) largest = number;
  return largest;
}

/** @param {Figure} figure @returns {Heat} */
export function decode(figure) {
  const packed = atob(figure.weights);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = packed.charCodeAt(i);
  const values = figure.bits === 32 ? new Float32Array(bytes.buffer) : new Float64Array(bytes.buffer);
  return { figure, values, largest: most(values) };
}

/** The shortest decimal that reads back as exactly this weight. @param {number} value @param {number} bits */
export function exact(value, bits) {
  for (let digits = 1; bits === 32 && digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(bits === 32 ? Number(value.toPrecision(9)) : value);
}

/** @param {number} fraction @param {string[]} ramp @returns {number[]} red, green, blue */
export function rgb(fraction, ramp) {
  const place = Math.min(Math.max(fraction, 0), 1) * (ramp.length - 1);
  const below = Math.min(Math.floor(place), ramp.length - 2);
  return [0, 2, 4].map((i) => {
    const [low, high] = [ramp[below], ramp[below + 1]].map((c) => parseInt(c.slice(i, i + 2), 16));
    return Math.floor(low + (high - low) * (place - below) + 0.5);
  });
}

/** @param {number} fraction @param {string[]} ramp */
const hex = (fraction, ramp) =>
  "#" + rgb(fraction, ramp).map((level) => level.toString(16).padStart(2, "0")).join("");

/* ---------------------------------------------------------------- layout and labels, as SVG */

/** @param {unknown} text */
const xml = (text) =>
  String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** @param {number} x @param {number} y @param {string} attributes @param {string} content */
const text = (x, y, attributes, content) =>
  `<text x="${+x.toFixed(2)}" y="${+y.toFixed(2)}" ${attributes}>${xml(content)}</text>`;

/** @param {string[]} labels @param {string} font @returns {number[]} */
function widths(labels, font) {
  pen.font = font;
  return labels.map((label) => pen.measureText(label).width + 3);
}

/** @param {Figure} figure @param {number} cell @param {string} families @returns {Layout} */
export function layOut(figure, cell, families) {
  const font = cell >= 20 ? 12 : cell >= 14 ? 11 : 10;
  const radians = (ANGLE * Math.PI) / 180;
  const across = widths(figure.source, `${font}px ${families}`);
  const wide = across.map((width) => width > cell - 2);
  const all = wide.filter(Boolean).length > wide.length / 5;
  const slanted = wide.map((one) => one || all);
  const rise = across.map((w, i) => (slanted[i] ? w * Math.sin(radians) : 0));
  const reach = across.map(
    (w, i) => (i + 0.5) * cell + (slanted[i] ? w * Math.cos(radians) + 10 : w / 2),
  );
  return {
    cell, font, slanted,
    left: Math.ceil(Math.max(CORNER, most(widths(figure.target, `${font}px ${families}`))) + GAP),
    rise: Math.ceil(Math.max(30, most(rise)) + font / 2 + GAP),
    reach: Math.ceil(Math.max(figure.source.length * cell, most(reach))),
    everyRow: Math.ceil((font * 1.15) / cell), // label only some rows where lines would overlap
    everyColumn: Math.ceil((font * 1.15) / (cell * Math.sin(radians))),
  };
}

/** @param {Figure} figure @param {Layout} at @param {number} x left edge @param {number} y bottom */
export function sourceLabels(figure, at, x, y) {
  return figure.source.map((label, column) => {
    if (column % at.everyColumn) return "";
    const slanted = at.slanted[column];
    const middle = x + (column + 0.5) * at.cell + (slanted ? 0.3 * at.font : 0);
    const place = slanted
      ? `transform="rotate(-${ANGLE} ${middle.toFixed(2)} ${y - GAP})"`
      : 'text-anchor="middle"';
    return text(middle, y - GAP, `class="source" data-source="${column}" ${place}`, label);
  }).join("");
}

/** @param {Figure} figure @param {Layout} at @param {number} x right edge @param {number} y top */
export function targetLabels(figure, at, x, y) {
  return figure.target.map((label, row) => {
    if (row % at.everyRow) return "";
    const place = `class="target" data-target="${row}" text-anchor="end"`;
    return text(x - GAP, y + (row + 0.5) * at.cell + 0.35 * at.font, place, label);
  }).join("");
}

/** The names of the axes. @param {number} x right edge @param {number} y bottom @param {string} ink */
export function corner(x, y, ink) {
  [x, y] = [x - GAP, y - GAP];
  const name = `class="axis" font-size="11" fill="${ink}" text-anchor="end"`;
  const arrows = `M${x - 11} ${y - 18.5}h9m-3 -3l3 3l-3 3M${x - 6.5} ${y - 8}v9m-3 -3l3 3l3 -3`;
  return text(x - 16, y - 15.4, name, "source") + text(x - 16, y, name, "target") +
    `<path d="${arrows}" fill="none" stroke="${ink}"/>`;
}

/** @param {number} x @param {number} y @param {string[]} ramp @param {number} top @param {string} ink */
export function legend(x, y, ramp, top, ink) {
  const steps = LEGEND / 3;
  const swatches = Array.from({ length: steps }, (_, i) =>
    `<rect x="${x + 3 * i}" y="${y}" width="${i < steps - 1 ? 4 : 3}" height="9" fill="${hex(i / (steps - 1), ramp)}"/>`);
  const style = `class="scale" font-size="11" fill="${ink}"`;
  const ticks = [["start", 0], ["middle", 0.5], ["end", 1]].map(([anchor, share]) =>
    text(x + Number(share) * LEGEND, y + 23, `${style} text-anchor="${anchor}"`, String(+(top * Number(share)).toPrecision(6))));
  return swatches.join("") + ticks.join("") + text(x + LEGEND + 8, y + 8.5, style, "weight");
}

/** One figure as a standalone SVG document. @param {Heat} map @param {Page} page @param {number} top */
export function toSvg({ figure, values }, page, top) {
  const [rows, columns] = [figure.target.length, figure.source.length];
  const longest = Math.max(rows, columns);
  const at = { ...layOut(figure, longest <= 40 ? 22 : longest <= 100 ? 16 : 12, page.families),
    everyRow: 1, everyColumn: 1 };
  const [x, y] = [16 + at.left, (figure.note ? 66 : 46) + at.rise];
  const title = [figure.title, figure.note].map((line, i) => widths([line], `${i ? 12 : "600 15"}px ${page.families}`)[0]);
  const width = Math.max(x + Math.max(at.reach, LEGEND + 60), 16 + Math.max(...title)) + 16;
  const height = y + rows * at.cell + 66;
  const cells = Array.from(values, (value, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const number = exact(value, figure.bits);
    return `<rect class="cell" x="${x + column * at.cell}" y="${y + row * at.cell}" width="${at.cell - 1}" ` +
      `height="${at.cell - 1}" fill="${hex(value / top, page.ramps.light)}" data-target="${row}" ` +
      `data-source="${column}" data-weight="${number}"><title>target: ${xml(figure.target[row])}\n` +
      `source: ${xml(figure.source[column])}\nweight: ${number}</title></rect>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${Math.ceil(width)}" height="${height}" ` +
    `viewBox="0 0 ${Math.ceil(width)} ${height}" role="img" xml:space="preserve" font-family="${xml(page.families)}" ` +
    `font-size="${at.font}" fill="#1c2128">`,
    `<title>${xml(figure.title || "Attention")}</title>`,
    `<desc>Heat map of attention weights: ${rows} target tokens (rows) by ${columns} source tokens (columns). ${xml(figure.note)}</desc>`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    text(16, 31, 'class="heading" font-size="15" font-weight="600"', figure.title),
    figure.note && text(16, 50, 'class="heading" font-size="12" fill="#57606a"', figure.note),
    corner(x, y, "#57606a"), targetLabels(figure, at, x, y), sourceLabels(figure, at, x, y),
    ...cells, legend(x, y + rows * at.cell + 24, page.ramps.light, top, "#57606a"), "</svg>\n",
  ].join("\n");
}

/** @param {Heat} map */
export function toCsv({ figure, values }) {
  const quote = (/** @type {string} */ label) => `"${plain(label).replaceAll('"', '""')}"`;
  const columns = figure.source.length;
  const rows = figure.target.map((label, row) =>
    [quote(label), ...Array.from(values.subarray(row * columns, (row + 1) * columns), (v) => exact(v, figure.bits))]);
  return [["", ...figure.source.map(quote)], ...rows].map((row) => row.join(",") + "\r\n").join("");
}

/** Without the isolates, for what is searched or taken elsewhere. @param {string} label */
export const plain = (label) => label.replace(/[\u2068\u2069]/g, "");
