"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 46rem)");
  let styles = getComputedStyle(document.documentElement);

  // "@name" and "@name/0.2" are variables of the stylesheet, so that charts follow its themes.
  function colour(text) {
    const [name, alpha] = text.slice(1).split("/");
    const value = styles.getPropertyValue(`--${name}`).trim();
    return alpha ? `${value}${Math.round(255 * alpha).toString(16).padStart(2, "0")}` : value;
  }

  function resolved(value, key = "") {
    if (typeof value === "string") {
      return key.endsWith("color") && value.startsWith("@") ? colour(value) : value;
    }
    if (Array.isArray(value)) return value.map((item) => resolved(item, key));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([k, item]) => [k, resolved(item, k)]));
  }

  function axis(own) {
    const shared = {
      automargin: true, gridcolor: "@line", linecolor: "@line", zerolinecolor: "@muted",
      zerolinewidth: 1, tickfont: { color: "@muted", size: 11 }, ticks: "", nticks: narrow.matches ? 5 : 8,
      minexponent: 4,
    };
    const title = { ...own.title, font: { color: "@muted", size: 12 }, standoff: 8 };
    return { ...shared, ...own, title };
  }

  function layout(own) {
    return {
      margin: { l: 8, r: 8, t: 8, b: 8 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: "@text" },
      hoverlabel: { bgcolor: "@card", bordercolor: "@line", font: { color: "@text", size: 12 } },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: "@muted", size: 11 }, itemclick: false, itemdoubleclick: false },
      dragmode: false, showlegend: true,
      ...own, xaxis: axis(own.xaxis), yaxis: axis(own.yaxis),
    };
  }

  const drawn = new Set();

  function draw(place) {
    const own = charts[place.id];
    if (!drawn.has(place.id)) place.replaceChildren();
    drawn.add(place.id);
    Plotly.react(place, resolved(own.data), resolved(layout(own.layout)), { displayModeBar: false, responsive: true });
  }

  // A chart in a closed part of the page has no size yet; it is drawn once it can be seen.
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "100% 0px" });
  for (const place of document.querySelectorAll(".chart")) seen.observe(place);

  function redraw() {
    styles = getComputedStyle(document.documentElement);
    for (const id of drawn) draw(document.getElementById(id));
  }
  dark.addEventListener("change", redraw);
  narrow.addEventListener("change", redraw);

  function openLinked() {
    const target = document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) target.open = true;
  }
  addEventListener("hashchange", openLinked);
  openLinked();

  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
    for (const place of document.querySelectorAll(".chart")) draw(place);
  });
})();
