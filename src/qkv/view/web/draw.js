// @ts-check
/**
 * What every drawing is made of, as SVG: labels, axes, scales, and a whole document.
 *
 * @typedef {import("./model.js").Heat} Heat
 * @typedef {{ cell: number, font: number, left: number, rise: number, reach: number,
 *   slanted: boolean[], everyRow: number, everyColumn: number }} Layout
 * @typedef {{ body: string, width: number, height: number }} Drawing
 */

import { hex, most } from "./numbers.js";

const ANGLE = 55; // degrees of a slanted label
const GAP = 7; // between a label and its cell
const CORNER = 58; // room for the names of the axes
const LEGEND = 180;
const pen = /** @type {CanvasRenderingContext2D} */ (
  document.createElement("canvas").getContext("2d")
);
/** @type {Map<string, number>} */
const measured = new Map();

/** @param {unknown} text */
export const xml = (text) =>
  String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** @param {number} x @param {number} y @param {string} attributes @param {string} content */
export const text = (x, y, attributes, content) =>
  `<text x="${+x.toFixed(2)}" y="${+y.toFixed(2)}" ${attributes}>${xml(content)}</text>`;

/** @param {string[]} labels @param {string} font @returns {number[]} */
export function widths(labels, font) {
  pen.font = font;
  if (measured.size > 50_000) measured.clear();
  return labels.map((label) => {
    const key = font + label; // measuring is slow, and a zoom asks for all labels again
    const width = measured.get(key) ?? pen.measureText(label).width + 3;
    measured.set(key, width);
    return width;
  });
}

/** @param {{ source: string[], target: string[] }} heat @param {number} cell @param {string} families @returns {Layout} */
export function layOut(heat, cell, families) {
  const font = cell >= 20 ? 12 : cell >= 14 ? 11 : 10;
  const radians = (ANGLE * Math.PI) / 180;
  const across = widths(heat.source, `${font}px ${families}`);
  const wide = across.map((width) => width > cell - 2);
  const all = wide.filter(Boolean).length > wide.length / 5;
  const slanted = wide.map((one) => one || all);
  const rise = across.map((w, i) => (slanted[i] ? w * Math.sin(radians) : 0));
  const reach = across.map(
    (w, i) => (i + 0.5) * cell + (slanted[i] ? w * Math.cos(radians) + 10 : w / 2),
  );
  return {
    cell, font, slanted,
    left: Math.ceil(Math.max(CORNER, most(widths(heat.target, `${font}px ${families}`))) + GAP),
    rise: Math.ceil(Math.max(30, most(rise)) + font / 2 + GAP),
    reach: Math.ceil(Math.max(heat.source.length * cell, most(reach))),
    everyRow: Math.ceil((font * 1.15) / cell), // label only some rows where lines would overlap
    everyColumn: Math.ceil((font * 1.15) / (cell * Math.sin(radians))),
  };
}

/**
 * Labels from one place of the axis up to another. @param {string[]} labels @param {Layout} at
 * @param {number} x left edge of the first @param {number} y bottom @param {[number, number]} range
 */
export function sourceLabels(labels, at, x, y, [from, to]) {
  const { cell, font, everyColumn } = at;
  let drawn = "";
  for (let i = Math.ceil(from / everyColumn) * everyColumn; i < to; i += everyColumn) {
    const slanted = at.slanted[i];
    const middle = x + (i + 0.5) * cell + (slanted ? 0.3 * font : 0);
    const place = slanted
      ? `transform="rotate(-${ANGLE} ${middle.toFixed(2)} ${y - GAP})"`
      : 'text-anchor="middle"';
    drawn += text(middle, y - GAP, `class="source" data-source="${i}" ${place}`, labels[i]);
  }
  return drawn;
}

/** @param {string[]} labels @param {Layout} at @param {number} x right edge @param {number} y top @param {[number, number]} range */
export function targetLabels(labels, at, x, y, [from, to]) {
  const { cell, font, everyRow } = at;
  let drawn = "";
  for (let i = Math.ceil(from / everyRow) * everyRow; i < to; i += everyRow) {
    const place = `class="target" data-target="${i}" text-anchor="end"`;
    drawn += text(x - GAP, y + (i + 0.5) * cell + 0.35 * font, place, labels[i]);
  }
  return drawn;
}

/** The names of the axes. @param {number} x right edge @param {number} y bottom @param {string} ink */
export function corner(x, y, ink) {
  [x, y] = [x - GAP, y - GAP];
  const name = `class="axis" font-size="11" fill="${ink}" text-anchor="end"`;
  const arrows = `M${x - 11} ${y - 18.5}h9m-3 -3l3 3l-3 3M${x - 6.5} ${y - 8}v9m-3 -3l3 3l3 -3`;
  return text(x - 16, y - 15.4, name, "source") + text(x - 16, y, name, "target") +
    `<path d="${arrows}" fill="none" stroke="${ink}"/>`;
}

/**
 * The scale of the colours. @param {number} x @param {number} y @param {string[]} ramp
 * @param {number} top @param {string} ink @param {Heat} heat
 */
export function legend(x, y, ramp, top, ink, { measure, signed, allowed }) {
  const steps = LEGEND / 3;
  const swatches = Array.from({ length: steps }, (_, i) =>
    `<rect x="${x + 3 * i}" y="${y}" width="${i < steps - 1 ? 4 : 3}" height="9" fill="${hex(i / (steps - 1), ramp)}"/>`);
  const style = `class="scale" font-size="11" fill="${ink}"`;
  const least = signed ? -top : 0;
  const ticks = [["start", 0], ["middle", 0.5], ["end", 1]].map(([anchor, share]) =>
    text(x + Number(share) * LEGEND, y + 23, `${style} text-anchor="${anchor}"`,
      String(+(least + (top - least) * Number(share)).toPrecision(6))));
  const after = x + LEGEND + 8 + widths([measure], "11px sans-serif")[0] + 24;
  const barred = allowed?.includes(0)
    ? hatch(after, y - 2, 13, 13) + text(after + 18, y + 8.5, style, "not allowed") : "";
  return swatches.join("") + ticks.join("") + text(x + LEGEND + 8, y + 8.5, style, measure) + barred;
}

/** A cell that may hold no weight. @param {number} x @param {number} y @param {number} width @param {number} height @param {string} [attributes] */
export const hatch = (x, y, width, height, attributes = "") =>
  `<path class="barred" ${attributes} d="M${x} ${y}h${width}v${height}h-${width}z" fill="none" stroke="#8c959f" stroke-width="0.5"/>` +
  `<path d="M${x} ${y + height}l${width} -${height}" stroke="#8c959f"/>`;

/**
 * A drawing as an SVG document of its own, on white. @param {Drawing} drawing
 * @param {{ title: string, note: string, summary: string, families: string, font?: number }} about
 */
export function standalone({ body, width, height }, { title, note, summary, families, font = 12 }) {
  const lines = [title, note].map((line, i) => widths([line], `${i ? 12 : "600 15"}px ${families}`)[0]);
  const above = headroom(note);
  const [w, h] = [Math.ceil(Math.max(width + 32, 32 + Math.max(...lines))), Math.ceil(height + above + 16)];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" ` +
    `role="img" xml:space="preserve" font-family="${xml(families)}" font-size="${font}" fill="#1c2128" color="#57606a">`,
    `<title>${xml(title || "Attention")}</title>`,
    `<desc>${xml(summary)} ${xml(note)}</desc>`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    text(16, 31, 'class="heading" font-size="15" font-weight="600"', title),
    note && text(16, 50, 'class="heading" font-size="12" fill="#57606a"', note),
    `<g transform="translate(16 ${above})">`, body, "</g></svg>\n",
  ].join("\n");
}

/** @param {string} note */
export const headroom = (note) => (note ? 66 : 46);

/** @param {string} markup of one element @returns {any} */
export function element(markup) {
  const holder = document.createElement("template");
  holder.innerHTML = markup;
  return holder.content.firstElementChild;
}
