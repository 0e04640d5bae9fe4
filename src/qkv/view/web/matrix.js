// @ts-check
/**
 * The matrix: cells on a canvas, labels as SVG text beside it.
 *
 * Only what is in sight, and a margin around it, is painted and labelled, so that a zoom costs the
 * same at ten tokens and at thousands. Where a pixel holds several cells, it shows the largest.
 *
 * @typedef {import("./model.js").Heat} Heat
 * @typedef {import("./draw.js").Layout} Layout
 * @typedef {import("./viewer.js").Desk} Desk
 * @typedef {[number, number]} Cell row and column
 * @typedef {{ choose?(cell: Cell | null): void, zoom?(size: number): void }} Linked  told of both
 */

import { corner, element, layOut, legend, sourceLabels, targetLabels } from "./draw.js";
import { heatCsv, heatJson, heatSvg } from "./exports.js";
import { exact } from "./numbers.js";
import { bar, coloured, cut } from "./paint.js";

const SIZES = [0.25, 0.5, 1, 2, 3, 4, 6, 8, 11, 14, 18, 22, 26, 32, 40, 52]; // pixels of a cell
const MARGIN = 700; // pixels painted beyond what is in sight

const PLOT = `<div class="matrix"><h3 dir="auto"></h3><div class="plot" tabindex="0" role="application" aria-roledescription="heat map"><svg class="corner"></svg><svg class="sources"></svg><svg class="targets"></svg>
<div class="map"><canvas></canvas><i class="row"></i><i class="column"></i><i class="cell"></i></div></div>
<svg class="legend" width="400" height="30" role="img" aria-label="Colour scale"></svg></div>`;

/** @param {Desk} desk @param {Linked} [linked] */
export function matrixView(desk, linked = {}) {
  const root = element(PLOT);
  /** @param {string} selector @returns {any} */
  const $ = (selector) => root.querySelector(selector);
  const [plot, map, canvas] = [$(".plot"), $(".map"), $("canvas")];

  /** @type {Heat} */
  let heat;
  /** @type {Layout} */
  let at;
  let size = 0; // of a cell, or 0 to fit the room
  /** @type {Cell | null} */
  let chosen = null;
  /** @type {{ rows: Cell, columns: Cell } | null} the range that is painted */
  let region = null;
  const shape = () => /** @type {Cell} */ ([heat.target.length, heat.source.length]);

  function fit() {
    const [rows, columns] = shape();
    const { left, reach } = layOut(heat, 22, desk.page.families);
    const room = root.clientWidth - left - (reach - columns * 22) - 24;
    if (Math.max(rows, columns) <= 100) return Math.min(Math.max(Math.floor(room / Math.max(columns, 1)), 16), 30);
    return [...SIZES].reverse().find((one) => one <= 26 && one * columns <= room) ?? SIZES[0];
  }

  function draw() {
    choose(null);
    const [rows, columns] = shape();
    const cell = size || fit();
    at = layOut(heat, cell, desk.page.families);
    const parts = [[".corner", at.left, at.rise], [".sources", at.reach, at.rise], [".targets", at.left, rows * cell]];
    for (const [selector, width, height] of parts) {
      const svg = $(String(selector));
      for (const [name, value] of Object.entries({ width, height, "font-size": at.font, "font-family": desk.page.families }))
        svg.setAttribute(name, String(value));
    }
    $(".corner").innerHTML = corner(at.left, at.rise, "currentColor");
    Object.assign(map.style, { width: `${columns * cell}px`, height: `${rows * cell}px` });
    // Labels stay in sight while cells scroll, unless they would take most of the window.
    plot.classList.toggle("sticky", at.rise < 0.5 * innerHeight && at.left < 0.5 * innerWidth);
    plot.style.scrollPadding = `${at.rise}px 12px 12px ${at.left}px`;
    $(".legend").style.marginLeft = `${at.left}px`;
    $(".legend").innerHTML = legend(1, 3, desk.ramp(heat.signed), desk.top(heat), "currentColor", heat);
    region = null;
    refresh();
  }

  /** Paint anew once what is in sight leaves what is painted. */
  function refresh() {
    if (!heat) return;
    const [rows, columns] = shape();
    const seen = [
      [plot.scrollTop - at.rise, plot.scrollTop + plot.clientHeight, rows],
      [plot.scrollLeft - at.left, plot.scrollLeft + plot.clientWidth, columns],
    ];
    const inside = (/** @type {number} */ margin) => seen.map(([from, to, count]) => /** @type {Cell} */ (
      [Math.max(0, Math.floor((from - margin) / at.cell)), Math.min(count, Math.ceil((to + margin) / at.cell))]));
    const [tall, wide] = inside(0);
    const within = (/** @type {Cell} */ a, /** @type {Cell} */ b) => a[0] >= b[0] && a[1] <= b[1];
    if (region && within(tall, region.rows) && within(wide, region.columns)) return;
    const [r, c] = inside(MARGIN);
    region = { rows: r, columns: c };
    paint(r, c);
    $(".sources").innerHTML = sourceLabels(heat.source, at, 0, at.rise, c);
    $(".targets").innerHTML = targetLabels(heat.target, at, at.left, 0, r);
  }

  /** @param {Cell} rows @param {Cell} columns */
  function paint([top, bottom], [left, right]) {
    const side = at.cell * devicePixelRatio;
    const block = Math.max(1, Math.round(1 / side)); // cells a pixel
    const [down, across] = [Math.ceil((bottom - top) / block), Math.ceil((right - left) / block)];
    if (down <= 0 || across <= 0) return void (canvas.width = 0);
    const small = new OffscreenCanvas(across, down); // one pixel a cell, or a block of them
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (small.getContext("2d"));
    const image = context.createImageData(across, down);
    const part = cut(heat, [top, bottom], [left, right], block);
    new Uint32Array(image.data.buffer).set(coloured(part, desk.ramp(heat.signed), desk.top(heat)));
    context.putImageData(image, 0, 0);

    const whole = Math.max(1, Math.round(side));
    [canvas.width, canvas.height] = [across * whole, down * whole];
    const ink = canvas.getContext("2d");
    ink.imageSmoothingEnabled = false;
    ink.drawImage(small, 0, 0, canvas.width, canvas.height);
    Object.assign(canvas.style, {
      left: `${left * at.cell}px`, top: `${top * at.cell}px`,
      width: `${across * block * at.cell}px`, height: `${down * block * at.cell}px`,
    });
    if (whole < 8) return;
    if (part.allowed) bar(ink, part.allowed, across, whole);
    const gap = Math.round(devicePixelRatio);
    for (let i = 1; i <= across; i++) ink.clearRect(i * whole - gap, 0, gap, canvas.height);
    for (let i = 1; i <= down; i++) ink.clearRect(0, i * whole - gap, canvas.width, gap);
  }

  /** Mark a cell, its row and its column, and say what it holds. @param {Cell | null} cell @param {boolean} [told] by another view */
  function choose(cell, told = false) {
    if (!told && (cell || chosen)) linked.choose?.(cell);
    chosen = cell;
    for (const label of root.querySelectorAll("text.on")) label.classList.remove("on");
    map.classList.toggle("marked", !!cell);
    if (!cell) return void (told || desk.tip.hide());
    const [row, column] = cell;
    $(`[data-target="${row}"]`)?.classList.add("on");
    $(`[data-source="${column}"]`)?.classList.add("on");
    const [top, left, side] = [row * at.cell, column * at.cell, at.cell].map((length) => `${length}px`);
    Object.assign($("i.row").style, { top, height: side });
    Object.assign($("i.column").style, { left, width: side });
    Object.assign($("i.cell").style, { top, left, width: side, height: side });
    if (told) return;
    const i = row * heat.source.length + column;
    const value = heat.allowed && !heat.allowed[i] ? "not allowed" : exact(heat.values[i], heat.bits);
    desk.tip.show([["target", heat.target[row]], ["source", heat.source[column]],
      [heat.measure, value]], $("i.cell").getBoundingClientRect());
  }

  /** One size up or down, or to fit (0); what is under the point stays there. @param {number} by @param {{ clientX: number, clientY: number }} [point] */
  function zoom(by, point) {
    const larger = SIZES.find((one) => one > at.cell);
    const smaller = [...SIZES].reverse().find((one) => one < at.cell);
    const next = by ? (by > 0 ? larger : smaller) ?? at.cell : 0;
    const [box, origin] = [plot.getBoundingClientRect(), map.getBoundingClientRect()];
    const [x, y] = point ? [point.clientX, point.clientY] : [origin.left, origin.top].map((edge, i) =>
      Math.max(edge, (i ? box.top + at.rise : box.left + at.left)));
    const [column, row] = [(x - origin.left) / at.cell, (y - origin.top) / at.cell];
    resize(next);
    plot.scrollTo(at.left + column * at.cell - (x - box.left), at.rise + row * at.cell - (y - box.top));
    refresh();
    linked.zoom?.(size);
  }

  /** @param {number} next */
  function resize(next) {
    size = next;
    draw();
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether it meant something here */
  function key(event) {
    const [rows, columns] = shape();
    const [row, column] = chosen ?? [0, -1];
    /** @type {Record<string, Cell>} */
    const moves = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1], Home: [row, 0], End: [row, columns - 1],
    };
    const sizes = new Map([["+", 1], ["=", 1], ["-", -1], ["0", 0]]);
    if (event.key === "Escape") choose(null);
    else if (sizes.has(event.key) && !event.ctrlKey && !event.metaKey) zoom(sizes.get(event.key) ?? 0);
    else if (moves[event.key] && rows && columns) {
      const within = (/** @type {number} */ i, /** @type {number} */ n) => Math.min(Math.max(i, 0), n - 1);
      choose([within(moves[event.key][0], rows), within(moves[event.key][1], columns)]);
      $("i.cell").scrollIntoView({ block: "nearest", inline: "nearest" });
      refresh();
      choose(chosen); // labels and tip follow what was scrolled
    } else return false;
    return true;
  }

  /** @type {{ x: number, y: number, moved: boolean } | null} */
  let drag = null;
  map.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    if (event.pointerType !== "touch" && !event.button) drag = { x: event.clientX, y: event.clientY, moved: false };
  });
  map.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    if (drag && (event.buttons & 1)) {
      const [dx, dy] = [drag.x - event.clientX, drag.y - event.clientY];
      if (!drag.moved && Math.hypot(dx, dy) < 4) return;
      if (!drag.moved) map.setPointerCapture(event.pointerId);
      choose(null);
      plot.scrollBy(dx, dy);
      drag = { x: event.clientX, y: event.clientY, moved: true };
      return;
    }
    const box = map.getBoundingClientRect();
    const [row, column] = [(event.clientY - box.top) / at.cell, (event.clientX - box.left) / at.cell].map(Math.floor);
    const [rows, columns] = shape();
    choose(row >= 0 && column >= 0 && row < rows && column < columns ? [row, column] : null);
  });
  for (const end of ["pointerup", "pointercancel"]) map.addEventListener(end, () => (drag = null));
  map.addEventListener("pointerleave", () => choose(null));
  plot.addEventListener("blur", () => choose(null));
  plot.addEventListener("scroll", refresh);
  let turned = 0;
  // A wheel scrolls the page until the map was clicked, or Ctrl is held: then it zooms.
  map.addEventListener("wheel", (/** @type {WheelEvent} */ event) => {
    if (!event.ctrlKey && !event.metaKey && !plot.matches(":focus")) return;
    event.preventDefault();
    turned += event.deltaY;
    if (Math.abs(turned) < 50) return; // a touchpad turns in many small steps
    zoom(turned < 0 ? 1 : -1, event);
    turned = 0;
  }, { passive: false });

  return {
    element: root,
    /** @param {Heat} next @param {string} [name] */
    show(next, name = "") {
      const same = heat && next.target.length === heat.target.length && next.source.length === heat.source.length;
      heat = next;
      $("h3").textContent = name;
      plot.setAttribute("aria-label", `${heat.title}: ${heat.target.length} target tokens by ` +
        `${heat.source.length} source tokens. Arrow keys move between cells, plus and minus zoom.`);
      if (!same) plot.scrollTo(0, 0);
      draw();
    },
    resize: draw, key, zoom,
    setSize: resize,
    /** @param {Cell | null} cell */
    mark: (cell) => choose(cell, true),
    svg: () => heatSvg(heat, desk.page, desk.top(heat)),
    csv: () => heatCsv(heat),
    json: () => heatJson(heat),
  };
}
