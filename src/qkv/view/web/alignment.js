// @ts-check
/** The alignment: the two sentences as columns, a line between two tokens as wide as its weight. */

import { text, widths } from "./draw.js";
import { linksView, named, stroke } from "./links.js";

const BETWEEN = 240; // pixels between the sentences

/** @param {import("./viewer.js").Desk} desk */
export const alignmentView = (desk) =>
  linksView(desk, { name: "Alignment", sides: ["source", "target"], drawing: columns });

/** @type {import("./links.js").Geometry["drawing"]} */
function columns(heat, links, families, top) {
  const longest = Math.max(heat.source.length, heat.target.length, 1);
  const pitch = longest <= 60 ? 22 : 16;
  const [left, right] = [heat.source, heat.target].map((labels) =>
    Math.ceil(Math.max(60, ...widths(labels, `12px ${families}`)))); // most rows are short: no limit
  const ends = [left + 8, left + 8 + BETWEEN];
  const y = (/** @type {number} */ index) => 30 + (index + 0.5) * pitch;
  const lines = links.map((link) => {
    const [a, b] = [y(link.source), y(link.target)];
    const bend = BETWEEN / 2;
    return `<path ${named(link, heat.bits)} ${stroke(link.weight, top)} ` +
      `d="M${ends[0]} ${a}C${ends[0] + bend} ${a} ${ends[1] - bend} ${b} ${ends[1]} ${b}"/>`;
  });
  const tokens = [heat.source, heat.target].flatMap((labels, side) => labels.map((label, index) => {
    const place = `class="token" data-side="${side ? "target" : "source"}" data-index="${index}"`;
    const anchor = side ? "" : ' text-anchor="end"';
    return text(side ? ends[1] + 6 : ends[0] - 6, y(index) + 4.2, place + anchor, label);
  }));
  const names = ["source", "target"].map((name, side) =>
    text(side ? ends[1] + 6 : ends[0] - 6, 14,
      `class="axis" font-size="11" fill="currentColor"${side ? "" : ' text-anchor="end"'}`, name));
  return {
    body: [...names, ...lines, ...tokens].join("\n"),
    width: ends[1] + right + 14, height: 30 + longest * pitch + 6,
  };
}
