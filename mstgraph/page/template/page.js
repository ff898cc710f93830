// The charts, the theme, and what the paths say when they are pointed at.
const root = document.documentElement;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const PALETTE = JSON.parse(document.getElementById("palette").textContent);
const views = new Map();
const widths = new Map();
const PAPER = 350; // pixels of a column's chart on a sheet of A4 or Letter, a little shrunk

// How much larger the page's text is than usual: charts grow with it.
const scale = () => parseFloat(getComputedStyle(document.body).fontSize) / 16;

function config(width) {
  const style = getComputedStyle(root);
  const size = scale();
  const ink = style.getPropertyValue("--ink").trim();
  const muted = style.getPropertyValue("--muted").trim();
  const faint = style.getPropertyValue("--faint").trim();
  return {
    background: null,
    font: "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
    view: { stroke: null },
    axis: { labelColor: muted, titleColor: muted, gridColor: faint, domainColor: faint,
            tickColor: faint, titleFontWeight: "normal", labelFontSize: 11 * size,
            titleFontSize: 11 * size },
    axisX: { tickCount: Math.max(3, Math.floor(width / (90 * size))) },
    legend: { labelColor: ink, titleColor: ink, symbolSize: 90, labelFontSize: 11 * size,
              columns: Math.max(1, Math.min(6, Math.floor(width / (170 * size)))) },
    range: { category: PALETTE[root.dataset.theme] },
    rule: { color: muted },
    point: { color: PALETTE[root.dataset.theme][0] },
    bar: { color: PALETTE[root.dataset.theme][0] },
    line: { color: PALETTE[root.dataset.theme][0] },
    area: { color: PALETTE[root.dataset.theme][0] },
    boxplot: { box: { color: PALETTE[root.dataset.theme][0] }, median: { color: ink },
               rule: { color: muted } },
    tick: { color: ink },
    text: { fontSize: 10 * size },
  };
}

async function draw(source) {
  const place = document.getElementById(source.dataset.chart);
  const { spec, data, title } = JSON.parse(source.textContent);
  const whole = {
    description: title,
    width: "container",
    autosize: { type: "fit-x", contains: "padding" },
    data: { values: data },
    ...spec,
    height: spec.height * scale(),
  };
  views.get(place)?.finalize();
  const options = { actions: false, mode: "vega-lite", renderer: "svg", config: config(place.clientWidth),
                    tooltip: { theme: root.dataset.theme } };
  views.set(place, await vegaEmbed(place, whole, options));
  widths.set(place, views.get(place).view.width());
  const picks = [spec, ...(spec.layer ?? [])].some(({ params }) =>
    params?.some(({ bind }) => bind === "legend"));
  name(place, title, picks);
}

// An axis and a mark are no stops for a reader: the picture has one name, its table the numbers.
// What can be clicked is a stop: entries of the legend, and what is chosen below a chart.
function name(place, title, picks) {
  const svg = place.querySelector("svg");
  svg.setAttribute("role", picks ? "group" : "img");
  svg.setAttribute("aria-label", title);
  const labels = place.querySelectorAll(".role-legend-label text");
  const symbols = picks ? place.querySelectorAll(".role-legend-symbol path") : [];
  symbols.forEach((symbol, index) => pick(symbol, labels[index]));
  for (const choice of place.querySelectorAll(".vega-bind-radio")) {
    choice.setAttribute("role", "radiogroup");
    choice.setAttribute("aria-label", `colours of ${title}`);
  }
}

function pick(symbol, label) {
  symbol.setAttribute("tabindex", "0");
  symbol.setAttribute("role", "button");
  symbol.setAttribute("aria-pressed", "false");
  symbol.setAttribute("aria-label", `pick ${label.textContent}`);
  symbol.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    symbol.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  });
  for (const part of [symbol, label]) {
    part.addEventListener("click", () => symbol.setAttribute("aria-pressed",
      String(symbol.getAttribute("aria-pressed") === "false")));
  }
}

async function drawAll() {
  for (const source of document.querySelectorAll("script[data-chart]")) await draw(source);
  root.dataset.drawn = String(document.querySelectorAll(".chart svg").length);
}

function choose(theme) {
  root.dataset.theme = theme;
  document.getElementById("theme").setAttribute("aria-pressed", String(theme === "dark"));
  return drawAll();
}

function paths(drawing) {
  const said = drawing.querySelector(".said");
  const first = said.textContent;
  const marks = Object.entries(JSON.parse(drawing.querySelector(".marks").textContent));
  const groups = [...drawing.querySelectorAll("svg g[id^='path-']")];
  const own = (mark) => groups.filter((group) => group.id.startsWith(mark));
  const show = (mark, text) => {
    said.textContent = text;
    for (const group of groups) group.classList.toggle("dim", !group.id.startsWith(mark));
  };
  const hide = () => {
    said.textContent = first;
    for (const group of groups) group.classList.remove("dim");
  };
  for (const [mark, text] of marks) {
    const stop = own(mark).find((group) => !group.id.startsWith(`${mark}edge`)) ?? own(mark)[0];
    own(mark).forEach((group) => {
      group.dataset.mark = mark;
      group.addEventListener("pointerenter", () => show(mark, text));
      group.addEventListener("pointerleave", hide);
      group.addEventListener("click", () => show(mark, text));
      if (group !== stop) return;
      group.setAttribute("tabindex", "0");
      group.setAttribute("role", "button");
      group.setAttribute("aria-label", text);
      group.addEventListener("focus", () => show(mark, text));
      group.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") show(mark, text);
        if (event.key === "Escape") hide();
      });
      group.addEventListener("blur", hide);
    });
  }
}

// On paper columns are narrower: charts are laid out anew, so that their text keeps its size.
function lay(width) {
  for (const [place, { view }] of views) view.width(width(place)).run();
}

document.querySelectorAll(".drawing").forEach(paths);
addEventListener("beforeprint", () => lay((place) => PAPER * (place.closest(".wide") ? 2 : 1)));
addEventListener("afterprint", () => lay((place) => widths.get(place)));
document.getElementById("theme").addEventListener("click", () =>
  choose(root.dataset.theme === "dark" ? "light" : "dark"));
prefersDark.addEventListener("change", (event) => choose(event.matches ? "dark" : "light"));
choose(prefersDark.matches ? "dark" : "light");
