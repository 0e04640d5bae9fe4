// @ts-check
/**
 * What is taken elsewhere: SVG, PNG, CSV and JSON of one matrix.
 *
 * @typedef {import("./model.js").Heat} Heat
 * @typedef {import("./model.js").Page} Page
 */

import {
  corner, hatch, layOut, legend, sourceLabels, standalone, targetLabels, xml,
} from "./draw.js";
import { plain } from "./model.js";
import { exact, fraction, hex } from "./numbers.js";
import { coloured } from "./paint.js";

const EACH = 40_000; // cells that an SVG names one by one; of more it holds a picture
const LONGEST = 2400; // pixels of the side of a large matrix

/** One matrix as a standalone SVG document. @param {Heat} heat @param {Page} page @param {number} top */
export function heatSvg(heat, page, top) {
  const [rows, columns] = [heat.target.length, heat.source.length];
  const longest = Math.max(rows, columns);
  const large = rows * columns > EACH;
  const cell = longest <= 40 ? 22 : longest <= 100 ? 16 : Math.min(12, Math.max(1, Math.floor(LONGEST / longest)));
  const at = { ...layOut(heat, large ? cell : Math.max(cell, 12), page.families), ...(large ? {} : { everyRow: 1, everyColumn: 1 }) };
  const ramp = (heat.signed ? page.signed : page.ramps).light;
  const [x, y] = [at.left, at.rise];
  const body = [
    corner(x, y, "#57606a"),
    targetLabels(heat.target, at, x, y, [0, rows]), sourceLabels(heat.source, at, x, y, [0, columns]),
    large ? picture(heat, x, y, at.cell, ramp, top) : cells(heat, x, y, at.cell, ramp, top),
    legend(x, y + rows * at.cell + 24, ramp, top, "#57606a", heat),
  ].join("\n");
  const what = heat.signed ? `signed values (${heat.measure})` : "attention weights";
  const summary = `Heat map of ${what}: ${rows} target tokens (rows) by ${columns} source tokens (columns).`;
  return standalone(
    { body, width: x + Math.max(at.reach, 380), height: y + rows * at.cell + 50 },
    { title: heat.title, note: heat.note, families: page.families, font: at.font,
      summary: summary + (large ? " The cells are a picture: their numbers are in the CSV and the JSON." : "") });
}

/** @param {Heat} heat @param {number} x @param {number} y @param {number} cell @param {string[]} ramp @param {number} top */
function cells({ values, bits, target, source, allowed, measure, signed }, x, y, cell, ramp, top) {
  return Array.from(values, (value, i) => {
    const [row, column] = [Math.floor(i / source.length), i % source.length];
    const [left, upper] = [x + column * cell, y + row * cell];
    const place = `data-target="${row}" data-source="${column}"`;
    if (allowed && !allowed[i]) return hatch(left, upper, cell - 1, cell - 1, `${place} data-allowed="false"`);
    const number = exact(value, bits);
    return `<rect class="cell" x="${left}" y="${upper}" width="${cell - 1}" height="${cell - 1}" ` +
      `fill="${hex(fraction(value, top, signed), ramp)}" ${place} data-weight="${number}"><title>` +
      `target: ${xml(target[row])}\nsource: ${xml(source[column])}\n${measure}: ${number}</title></rect>`;
  }).join("\n");
}

/** @param {Heat} heat @param {number} x @param {number} y @param {number} cell @param {string[]} ramp @param {number} top */
function picture(heat, x, y, cell, ramp, top) {
  const [columns, rows] = [heat.source.length, heat.target.length];
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns, rows];
  const ink = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = ink.createImageData(columns, rows);
  new Uint32Array(image.data.buffer).set(coloured(heat, ramp, top));
  ink.putImageData(image, 0, 0);
  return `<image x="${x}" y="${y}" width="${columns * cell}" height="${rows * cell}" ` +
    `style="image-rendering:pixelated" href="${canvas.toDataURL()}"/>`;
}

/** Labels with quotes for CSV. @param {string} label */
export const quoted = (label) => `"${plain(label).replaceAll('"', '""')}"`;

/** A cell that is not allowed is empty. @param {Heat} heat */
export function heatCsv(heat) {
  const rows = heat.target.map((label, row) => [quoted(label), ...numbers(heat, row, "")]);
  return [["", ...heat.source.map(quoted)], ...rows].map((row) => row.join(",") + "\r\n").join("");
}

/** A cell that is not allowed is null. @param {Heat} heat */
export function heatJson(heat) {
  const names = { title: heat.title, note: heat.note, target: heat.target, source: heat.source };
  for (const [key, value] of Object.entries(names))
    Object.assign(names, { [key]: Array.isArray(value) ? value.map(plain) : plain(value) });
  const rows = heat.target.map((_, row) => `[${numbers(heat, row, "null").join(",")}]`);
  return `${JSON.stringify(names).slice(0, -1)},"${heat.signed ? "values" : "weights"}":[\n${rows.join(",\n")}]}\n`;
}

/** @param {Heat} heat @param {number} row @param {string} barred */
function numbers({ values, allowed, source, bits }, row, barred) {
  const start = row * source.length;
  return Array.from(values.subarray(start, start + source.length), (value, column) =>
    allowed && !allowed[start + column] ? barred : exact(value, bits));
}

/** @param {BlobPart} content @param {string} type @param {string} name */
export function download(content, type, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** An SVG document as a PNG of twice its size, for print and sharp screens. @param {string} svg */
export async function toPng(svg) {
  const image = new Image();
  image.src = "data:image/svg+xml," + encodeURIComponent(svg);
  await image.decode();
  const times = image.width * image.height > 4e6 ? 1 : 2;
  const large = new OffscreenCanvas(times * image.width, times * image.height);
  large.getContext("2d")?.drawImage(image, 0, 0, large.width, large.height);
  return large.convertToBlob();
}
