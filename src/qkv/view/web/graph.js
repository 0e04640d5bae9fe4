// @ts-check
/**
 * The graph: a sequence that attends to itself as tokens on a circle, an arrow from each token to
 * what it looks at. The dot of a token grows with what it is looked at in all.
 */

import { text, widths } from "./draw.js";
import { linksView, named, stroke } from "./links.js";

/** Whether rows and columns are the same tokens. @param {{ target: string[], source: string[] }} heat */
export const attendsToItself = ({ target, source }) =>
  target.length === source.length && target.every((label, i) => label === source[i]);

/** @param {import("./viewer.js").Desk} desk */
export const graphView = (desk) => linksView(desk, { name: "Graph", sides: ["both"], drawing: circle });

/** @type {import("./links.js").Geometry["drawing"]} */
function circle(heat, links, families, top) {
  const count = heat.source.length;
  const radius = Math.max(110, (count * 17) / (2 * Math.PI));
  const room = widths(heat.source, `12px ${families}`).reduce((a, b) => Math.max(a, b), 0) + 24;
  const centre = radius + room;
  /** @param {number} index @param {number} far */
  const at = (index, far) => {
    const angle = (2 * Math.PI * index) / Math.max(count, 1) - Math.PI / 2;
    return [centre + far * Math.cos(angle), centre + far * Math.sin(angle)];
  };
  const received = new Float64Array(count);
  for (let i = 0; i < heat.values.length; i++) received[i % count] += Math.abs(heat.values[i]);
  const largest = received.reduce((a, b) => Math.max(a, b), 0) || 1;
  const arrows = links.map((link) => {
    const about = `${named(link, heat.bits)} ${stroke(link.weight, top)}`;
    return `<path ${about} d="${link.target === link.source ? loop(at, link.target, radius) : arrow(at, link, radius, centre)}"/>`;
  });
  const tokens = heat.source.map((label, i) => {
    const [x, y] = at(i, radius);
    const turn = (360 * i) / count - 90;
    const flipped = turn > 90; // the left half reads from outside in
    const place = `class="token" data-side="both" data-index="${i}"`;
    const [labelX, labelY] = at(i, radius + 12);
    const turned = `transform="rotate(${(flipped ? turn - 180 : turn).toFixed(2)} ${labelX.toFixed(2)} ${labelY.toFixed(2)})"`;
    return `<circle ${place} cx="${x.toFixed(2)}" cy="${y.toFixed(2)}" r="${(2 + 5 * Math.sqrt(received[i] / largest)).toFixed(2)}" fill="#1a5399"/>` +
      text(labelX, labelY, `${place} ${turned} dominant-baseline="central"${flipped ? ' text-anchor="end"' : ""}`, label);
  });
  return { body: [...arrows, ...tokens].join("\n"), width: 2 * centre, height: 2 * centre };
}

/**
 * A curve that bends to the middle and ends in a head. @param {(index: number, far: number) => number[]} at
 * @param {import("./links.js").Link} link @param {number} radius @param {number} centre
 */
function arrow(at, { target, source }, radius, centre) {
  const [[x, y], [u, v]] = [at(target, radius - 8), at(source, radius - 10)];
  const [cx, cy] = [(x + u) / 4 + centre / 2, (y + v) / 4 + centre / 2];
  const angle = Math.atan2(v - cy, u - cx);
  const barb = (/** @type {number} */ turn) =>
    `${(u - 6 * Math.cos(angle + turn)).toFixed(2)} ${(v - 6 * Math.sin(angle + turn)).toFixed(2)}`;
  return `M${x.toFixed(2)} ${y.toFixed(2)}Q${cx.toFixed(2)} ${cy.toFixed(2)} ${u.toFixed(2)} ${v.toFixed(2)}` +
    `M${barb(0.45)}L${u.toFixed(2)} ${v.toFixed(2)}L${barb(-0.45)}`;
}

/** A token that looks at itself. @param {(index: number, far: number) => number[]} at @param {number} index @param {number} radius */
function loop(at, index, radius) {
  const [x, y] = at(index, radius - 6).map((place) => place.toFixed(2));
  const [one, other] = [at(index - 0.45, radius - 34), at(index + 0.45, radius - 34)]
    .map((point) => point.map((place) => place.toFixed(2)).join(" "));
  return `M${x} ${y}C${one} ${other} ${x} ${y}`;
}
