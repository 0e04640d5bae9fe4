// @ts-check
/**
 * The viewer: shows one of many heat maps at a time, and needs nothing but these two modules.
 *
 * Cells are painted on a canvas (four million of them take less than a second), labels are SVG text,
 * so that they are sharp, selectable and written in the right direction.
 *
 * @typedef {import("./heatmap.js").Page} Page
 * @typedef {import("./heatmap.js").Heat} Heat
 * @typedef {import("./heatmap.js").Layout} Layout
 */

import {
  corner, decode, exact, layOut, legend, plain, rgb, sourceLabels, targetLabels, toCsv, toSvg,
} from "./heatmap.js";

const SHADES = 4096; // colours prepared for painting
const CHUNK = 200; // entries of the list made at a time
const SIZES = [1, 2, 3, 4, 6, 8, 11, 14, 18, 22, 26, 32, 40, 52];

const FRAME = `
<header><h1 dir="auto"></h1><p class="count"></p><button class="theme" type="button"></button></header>
<nav><input type="search" placeholder="Search titles and tokens" aria-label="Search figures">
<p class="found" role="status"></p><ol role="listbox" tabindex="0" aria-label="Figures"></ol></nav>
<main><h2 dir="auto"></h2><p class="note" dir="auto"></p>
<div class="bar" role="toolbar" aria-label="View">
<span><button class="smaller" type="button" aria-label="Smaller cells">−</button><button class="fit" type="button">Fit</button><button class="larger" type="button" aria-label="Larger cells">+</button></span>
<label><input class="whole" type="checkbox"> Scale to 1</label>
<span class="save">Save <button class="svg" type="button">SVG</button><button class="png" type="button">PNG</button><button class="csv" type="button">CSV</button></span></div>
<div class="plot" tabindex="0" role="application" aria-roledescription="heat map"><svg class="corner"></svg><svg class="sources"></svg><svg class="targets"></svg>
<div class="map"><canvas></canvas><i class="row"></i><i class="column"></i><i class="cell"></i></div></div>
<svg class="legend" width="260" height="30" role="img" aria-label="Colour scale"></svg>
<dl class="tip" role="status" hidden><dt>target</dt><dd></dd><dt>source</dt><dd></dd><dt>weight</dt><dd></dd></dl></main>`;

/**
 * Build the viewer in an element.
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, page) {
  root.classList.add("viewer");
  root.innerHTML = FRAME;
  /** @param {string} selector @returns {any} */
  const $ = (selector) => root.querySelector(selector);
  const [plot, canvas, tip, list] = [$(".plot"), $("canvas"), $(".tip"), $("ol")];
  const system = matchMedia("(prefers-color-scheme: dark)");
  const many = page.figures.length > 1;

  let theme = system.matches ? "dark" : "light";
  let found = page.figures.map((_, index) => index); // what the search left, in order
  let current = 0;
  let size = 0; // of a cell, or 0 to fit the window
  /** @type {[number, number] | null} */
  let chosen = null; // row and column under the pointer or the keyboard
  /** @type {Heat} */
  let map;
  /** @type {Layout} */
  let at;
  /** @type {string[] | null} */
  let searchable = null;

  const top = () => ($(".whole").checked ? 1 : page.tops.find((end) => map.largest <= end) ?? 1);
  const ramp = () => page.ramps[/** @type {"light" | "dark"} */ (theme)];

  function show(/** @type {number} */ index) {
    current = index;
    map = decode(page.figures[index]);
    const { title, note, target, source } = map.figure;
    $("h2").textContent = title === page.title ? "" : title;
    $(".note").textContent = note;
    plot.setAttribute("aria-label",
      `${title}: ${target.length} target tokens by ${source.length} source tokens. Arrow keys move between cells.`);
    for (const option of list.children)
      option.setAttribute("aria-selected", String(option.dataset.figure === String(index)));
    plot.scrollTo(0, 0);
    draw();
  }

  function cellToFit() {
    const [rows, columns] = [map.figure.target.length, map.figure.source.length];
    const { left, reach } = layOut(map.figure, 22, page.families);
    const room = $("main").clientWidth - left - (reach - columns * 22) - 24;
    const least = Math.max(rows, columns) <= 100 ? 16 : 1; // 16: every label has room
    return Math.min(Math.max(Math.floor(room / Math.max(columns, 1)), least), 30);
  }

  function draw() {
    choose(null);
    const { figure } = map;
    const cell = size || cellToFit();
    at = layOut(figure, cell, page.families);
    const [width, height] = [figure.source.length * cell, figure.target.length * cell];
    const parts = [
      [".corner", at.left, at.rise, corner(at.left, at.rise, "currentColor")],
      [".sources", at.reach, at.rise, sourceLabels(figure, at, 0, at.rise)],
      [".targets", at.left, height, targetLabels(figure, at, at.left, 0)],
    ];
    for (const [selector, w, h, content] of parts) {
      const svg = $(String(selector));
      svg.setAttribute("width", w);
      svg.setAttribute("height", h);
      svg.setAttribute("font-size", at.font);
      svg.setAttribute("font-family", page.families);
      svg.innerHTML = content;
    }
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    // Labels stay in sight while cells scroll, unless they would take most of the window.
    plot.classList.toggle("sticky", at.rise < 0.5 * innerHeight && at.left < 0.5 * innerWidth);
    plot.style.scrollPadding = `${at.rise}px 12px 12px ${at.left}px`;
    paint();
    $(".whole").disabled = map.largest > 0.5; // the scale ends at 1 as it is
    $(".legend").style.marginLeft = `${at.left}px`;
    $(".legend").innerHTML = legend(1, 1, ramp(), top(), "currentColor");
  }

  function paint() {
    const { figure, values } = map;
    const [rows, columns] = [figure.target.length, figure.source.length];
    if (!rows || !columns) return void (canvas.width = 0);
    const small = new OffscreenCanvas(columns, rows); // one pixel a cell
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (small.getContext("2d"));
    const image = context.createImageData(columns, rows);
    const table = new Uint8ClampedArray(4 * (SHADES + 1)).fill(255);
    for (let i = 0; i <= SHADES; i++) table.set(rgb(i / SHADES, ramp()), 4 * i);
    const [pixels, colours] = [new Uint32Array(image.data.buffer), new Uint32Array(table.buffer)];
    const scale = SHADES / top();
    for (let i = 0; i < values.length; i++)
      pixels[i] = colours[Math.min(Math.round(values[i] * scale), SHADES)];
    context.putImageData(image, 0, 0);

    let side = Math.round(at.cell * devicePixelRatio);
    if (Math.max(rows, columns) * side > 16000 || rows * columns * side * side > 3e7) side = 1;
    [canvas.width, canvas.height] = [columns * side, rows * side];
    const ink = canvas.getContext("2d");
    ink.imageSmoothingEnabled = false;
    ink.drawImage(small, 0, 0, canvas.width, canvas.height);
    if (side < 8) return;
    const gap = Math.round(devicePixelRatio);
    for (let c = 1; c <= columns; c++) ink.clearRect(c * side - gap, 0, gap, canvas.height);
    for (let r = 1; r <= rows; r++) ink.clearRect(0, r * side - gap, canvas.width, gap);
  }

  /** Mark a cell, its row and its column, and say what it holds. @param {[number, number] | null} cell */
  function choose(cell) {
    chosen = cell;
    for (const label of root.querySelectorAll("text.on")) label.classList.remove("on");
    tip.hidden = !cell;
    $(".map").classList.toggle("marked", !!cell);
    if (!cell) return;
    const [row, column] = cell;
    const { figure, values } = map;
    $(`[data-target="${row}"]`)?.classList.add("on");
    $(`[data-source="${column}"]`)?.classList.add("on");
    const side = `${at.cell}px`;
    Object.assign($("i.row").style, { top: `${row * at.cell}px`, height: side });
    Object.assign($("i.column").style, { left: `${column * at.cell}px`, width: side });
    Object.assign($("i.cell").style,
      { top: `${row * at.cell}px`, left: `${column * at.cell}px`, width: side, height: side });
    const words = [figure.target[row], figure.source[column],
      exact(values[row * figure.source.length + column], figure.bits)];
    tip.querySelectorAll("dd").forEach((/** @type {HTMLElement} */ dd, /** @type {number} */ i) => (dd.textContent = words[i]));
    const box = $("i.cell").getBoundingClientRect();
    const beside = box.right + 12 + tip.offsetWidth < innerWidth ? box.right + 12 : box.left - 12 - tip.offsetWidth;
    const below = box.bottom + 12 + tip.offsetHeight < innerHeight ? box.bottom + 12 : box.top - 12 - tip.offsetHeight;
    Object.assign(tip.style, { left: `${Math.max(beside, 4)}px`, top: `${Math.max(below, 4)}px` });
  }

  /** @param {KeyboardEvent} event */
  function step(event) {
    const [rows, columns] = [map.figure.target.length, map.figure.source.length];
    const [row, column] = chosen ?? [0, -1];
    /** @type {Record<string, [number, number]>} */
    const moves = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1], Home: [row, 0], End: [row, columns - 1],
    };
    if (event.key === "Escape") return choose(null);
    if (event.key === "PageDown" || event.key === "PageUp") turn(event.key === "PageDown" ? 1 : -1);
    else if (moves[event.key] && rows && columns) {
      const within = (/** @type {number} */ i, /** @type {number} */ n) => Math.min(Math.max(i, 0), n - 1);
      choose([within(moves[event.key][0], rows), within(moves[event.key][1], columns)]);
      $("i.cell").scrollIntoView({ block: "nearest", inline: "nearest" });
      choose(chosen); // the tip follows what was scrolled
    } else return;
    event.preventDefault();
  }

  /* ------------------------------------------------------------ the list */

  function more() {
    const next = found.slice(list.children.length, list.children.length + CHUNK);
    list.append(...next.map((index) => {
      const { title, target, source } = page.figures[index];
      const option = document.createElement("li");
      Object.assign(option, { id: `figure-${index}`, role: "option", dir: "auto", textContent: title || `Figure ${index + 1}` });
      option.dataset.figure = String(index);
      option.setAttribute("aria-selected", String(index === current));
      const size = document.createElement("small");
      size.textContent = `${target.length} × ${source.length}`;
      option.append(size);
      return option;
    }));
  }

  function search() {
    /** @type {string[]} */
    const words = $("nav input").value.toLowerCase().split(/\s+/).filter(Boolean);
    searchable ??= page.figures.map((figure) =>
      plain([figure.title, figure.note, ...figure.target, ...figure.source].join(" ")).toLowerCase());
    found = page.figures.map((_, index) => index)
      .filter((index) => words.every((word) => searchable?.[index].includes(word)));
    list.replaceChildren();
    more();
    $(".found").textContent = words.length ? `${found.length} of ${page.figures.length}` : "";
  }

  /** Show the next or the previous of what was found. @param {number} by */
  function turn(by) {
    const place = Math.min(Math.max(found.indexOf(current) + by, 0), found.length - 1);
    if (place < 0) return;
    while (list.children.length <= place) more();
    show(found[place]);
    list.children[place].scrollIntoView({ block: "nearest" });
  }

  /* ------------------------------------------------------------ what the reader does */

  /** @param {BlobPart} content @param {string} type @param {string} suffix */
  function save(content, type, suffix) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type }));
    const name = plain(map.figure.title).toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
    link.download = `${name.slice(0, 80) || `figure-${current + 1}`}.${suffix}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  async function savePng() {
    const image = new Image();
    image.src = "data:image/svg+xml," + encodeURIComponent(toSvg(map, page, top()));
    await image.decode();
    const large = new OffscreenCanvas(2 * image.width, 2 * image.height);
    large.getContext("2d")?.drawImage(image, 0, 0, large.width, large.height);
    save(await large.convertToBlob(), "image/png", "png");
  }

  function paper(/** @type {string} */ name) {
    theme = name;
    root.dataset.theme = name;
    $(".theme").textContent = name === "dark" ? "Light" : "Dark";
  }

  /** @param {number} by */
  function resize(by) {
    const larger = SIZES.filter((one) => one > at.cell);
    const smaller = SIZES.filter((one) => one < at.cell);
    size = (by > 0 ? larger[0] : smaller.at(-1)) ?? at.cell;
    draw();
  }

  $(".map").addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const box = canvas.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top) / at.cell);
    const column = Math.floor((event.clientX - box.left) / at.cell);
    const inside = row >= 0 && column >= 0 && row < map.figure.target.length && column < map.figure.source.length;
    choose(inside ? [row, column] : null);
  });
  $(".map").addEventListener("pointerleave", () => choose(null));
  plot.addEventListener("keydown", step);
  plot.addEventListener("blur", () => choose(null));
  $(".smaller").addEventListener("click", () => resize(-1));
  $(".larger").addEventListener("click", () => resize(1));
  $(".fit").addEventListener("click", () => ((size = 0), draw()));
  $(".whole").addEventListener("change", draw);
  $(".svg").addEventListener("click", () => save(toSvg(map, page, top()), "image/svg+xml", "svg"));
  $(".csv").addEventListener("click", () => save(toCsv(map), "text/csv", "csv"));
  $(".png").addEventListener("click", savePng);
  $(".theme").addEventListener("click", () => (paper(theme === "dark" ? "light" : "dark"), draw()));
  system.addEventListener("change", () => (paper(system.matches ? "dark" : "light"), draw()));
  $("nav input").addEventListener("input", search);
  list.addEventListener("click", (/** @type {any} */ event) => {
    const option = event.target.closest("li");
    if (option) show(Number(option.dataset.figure));
  });
  list.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    turn(event.key === "ArrowDown" ? 1 : -1);
  });
  list.addEventListener("scroll", () => {
    if (list.scrollTop + list.clientHeight > list.scrollHeight - 400) more();
  });
  let wide = innerWidth;
  addEventListener("resize", () => {
    if (wide !== innerWidth || !size) draw();
    wide = innerWidth;
  });

  root.classList.toggle("many", many);
  $("h1").textContent = page.title;
  $(".count").textContent = many ? `${page.figures.length} figures` : "";
  paper(theme);
  more();
  show(0);
}

const data = document.getElementById("figures");
if (data) {
  mount(/** @type {HTMLElement} */ (document.getElementById("viewer")), JSON.parse(data.textContent ?? ""));
}
