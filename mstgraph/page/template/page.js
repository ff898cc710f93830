// The charts, the theme, and what the paths say when they are pointed at.
const root = document.documentElement;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const PALETTE = {
  light: ["#2f74d0", "#e07b1f", "#2f9e62", "#c0418a", "#b8901a", "#1d97a8", "#7656c8", "#a0522d"],
  dark: ["#6ea8f0", "#f2a45c", "#62c78e", "#e27bb5", "#dbbb55", "#57c3d2", "#a68df0", "#cf8a63"],
};
const views = new Map();
const widths = new Map();
const PAPER = 350; // pixels of a column's chart on a sheet of A4 or Letter, a little shrunk

function config(width) {
  const style = getComputedStyle(root);
  const ink = style.getPropertyValue("--ink").trim();
  const muted = style.getPropertyValue("--muted").trim();
  const faint = style.getPropertyValue("--faint").trim();
  return {
    background: null,
    font: "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
    view: { stroke: null },
    axis: { labelColor: muted, titleColor: muted, gridColor: faint, domainColor: faint,
            tickColor: faint, titleFontWeight: "normal" },
    axisX: { tickCount: Math.max(3, Math.floor(width / 90)) },
    legend: { labelColor: ink, titleColor: ink, symbolSize: 90,
              columns: width < 340 ? 1 : 2 },
    range: { category: PALETTE[root.dataset.theme] },
    rule: { color: muted },
    point: { color: PALETTE[root.dataset.theme][0] },
    bar: { color: PALETTE[root.dataset.theme][0] },
    line: { color: PALETTE[root.dataset.theme][0] },
    area: { color: PALETTE[root.dataset.theme][0] },
    boxplot: { box: { color: PALETTE[root.dataset.theme][0] }, median: { color: ink },
               rule: { color: muted } },
    tick: { color: ink },
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
  };
  views.get(place)?.finalize();
  const options = { actions: false, mode: "vega-lite", renderer: "svg", config: config(place.clientWidth),
                    tooltip: { theme: root.dataset.theme } };
  views.set(place, await vegaEmbed(place, whole, options));
  widths.set(place, views.get(place).view.width());
  // An axis and a mark are no stops for a reader: the picture has one name, its table the numbers.
  place.querySelector("svg")?.setAttribute("role", "img");
  place.querySelector("svg")?.setAttribute("aria-label", title);
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
    own(mark).forEach((group, index) => {
      group.dataset.mark = mark;
      group.addEventListener("pointerenter", () => show(mark, text));
      group.addEventListener("pointerleave", hide);
      group.addEventListener("click", () => show(mark, text));
      if (index) return;
      group.setAttribute("tabindex", "0");
      group.setAttribute("role", "button");
      group.setAttribute("aria-label", text);
      group.addEventListener("focus", () => show(mark, text));
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
