(function () {
  "use strict";
  const $ = globalThis.jQuery;
  const variants = JSON.parse(document.getElementById("plot-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)");
  // Colours of the figures that vanish on a dark ground.
  const lighter = { "#000000": "#f2f4f6", "#0072B2": "#4fa8e0", "#555555": "#b4bcc4", "#8a8a8a": "#a8b0b8" };
  let printing = false;

  // ---- plots ----

  function repainted(value, isDark) {
    if (Array.isArray(value)) return value.map((part) => repainted(part, isDark));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, repainted(part, isDark)]));
    }
    return isDark && Object.hasOwn(lighter, value) ? lighter[value] : value;
  }

  function chosen(figure, all) {
    const form = figure.querySelector("form");
    const wanted = form ? [...new FormData(form)] : [];
    return all.find((variant) => wanted.every(([name, value]) => variant.choice[name] === value));
  }

  function draw(figure, width) {
    const all = variants[figure.id.slice("plot-".length)];
    const canvas = figure.querySelector(".canvas");
    const variant = chosen(figure, all);
    const title = figure.querySelector(".plot-title");
    title.textContent = variant ? variant.title : "This was not measured.";
    canvas.hidden = !variant;
    if (!variant) return;
    const isDark = dark.matches && !printing;
    const ink = isDark ? "#e6eaee" : "#1c2126";
    const grid = isDark ? "#39424b" : "#e1e5e9";
    const { data, layout } = repainted(variant.figure, isDark);
    const room = width || canvas.clientWidth;
    const entries = layout.showlegend === false ? 0 : data.filter((trace) => trace.showlegend !== false && trace.name).length;
    const longest = Math.max(0, ...data.map((trace) => (trace.name || "").length));
    const columns = Math.max(1, Math.floor((room - 76) / (50 + 6.6 * longest)));
    const below = entries ? 20 * Math.ceil(entries / columns) + 20 : 0;
    layout.height = layout.height || 400 + below;
    if (entries) {
      // The legend stands below the axis' title, whatever the height.
      layout.margin.b = 58 + below;
      layout.legend.y = -58 / (layout.height - layout.margin.b - layout.margin.t);
    }
    Object.assign(layout, { autosize: !width, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: touch.matches ? false : "zoom" });
    if (width) layout.width = width;
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: isDark ? "#a3adb8" : "#59636e", activecolor: ink };
    layout.font = { color: ink, family: getComputedStyle(document.body).fontFamily, size: 12 };
    layout.hoverlabel = { align: "left", bgcolor: isDark ? "#262d34" : "#ffffff", font: { color: ink, family: layout.font.family, size: 12 } };
    for (const name of ["xaxis", "yaxis"]) {
      Object.assign(layout[name] ||= {}, { gridcolor: grid, linecolor: grid, zerolinecolor: grid, fixedrange: touch.matches });
    }
    // Named one by one: the default bar has a button that sends the figure to a server.
    const buttons = touch.matches ? ["toImage"] : ["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"];
    const options = { responsive: !width, displaylogo: false, plotlyServerURL: "", modeBarButtons: [buttons] };
    Plotly.react(canvas, data, layout, options);
  }

  const figures = [...document.querySelectorAll("figure.plot")];
  for (const figure of figures) {
    draw(figure);
    const form = figure.querySelector("form");
    if (form) form.addEventListener("change", () => draw(figure));
    if (form) form.addEventListener("submit", (event) => event.preventDefault());
  }
  dark.addEventListener("change", () => figures.forEach((figure) => draw(figure)));

  // ---- tables ----

  function filters(table, api) {
    const heads = [...table.tHead.rows[0].cells];
    const bar = document.createElement("div");
    bar.className = "filters";
    heads.forEach((head, place) => {
      if (!("filtered" in head.dataset)) return;
      const column = api.column(place);
      const values = [...new Set(column.nodes().toArray().map((cell) => cell.textContent))];
      if (values.length < 2) return;
      const label = document.createElement("label");
      const select = document.createElement("select");
      const name = column.title();
      select.append(new Option("all", ""), ...values.map((value) => new Option(value, value)));
      select.addEventListener("change", () => {
        const cells = column.nodes().toArray();
        column.search.fixed("filter", select.value ? (text, data, row) => cells[row].textContent === select.value : null).draw();
      });
      label.append(`${name} `, select);
      bar.append(label);
    });
    const container = table.closest(".dt-container");
    bar.append(container.querySelector(".dt-search"));
    container.prepend(bar);
  }

  for (const table of document.querySelectorAll("table.data")) {
    const heads = [...table.tHead.rows[0].cells];
    const large = table.tBodies[0].rows.length > 12;
    const api = $(table).DataTable({
      paging: false,
      order: [],
      autoWidth: false,
      searching: large,
      info: large,
      layout: { topStart: large ? "search" : null, topEnd: null, bottomStart: large ? "info" : null, bottomEnd: null },
      language: { search: "Filter", info: "_TOTAL_ rows", infoEmpty: "no rows", infoFiltered: "of _MAX_", zeroRecords: "No row matches." },
      columnDefs: heads.map((head, place) => ({
        targets: place,
        type: head.classList.contains("number") ? "num" : "string",
        orderSequence: head.dataset.best === "desc" ? ["desc", "asc", ""] : ["asc", "desc", ""],
      })),
    });
    if (large) filters(table, api);
    const scroll = document.createElement("div");
    scroll.className = "scroll";
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", table.caption.textContent);
    table.replaceWith(scroll);
    scroll.append(table);
  }

  // ---- copying ----

  async function copied(source) {
    try {
      await navigator.clipboard.writeText(source.value);
      return true;
    } catch {
      // No clipboard here, or no permission for it: select the text, and try the old way.
      source.focus();
      source.select();
      return document.execCommand("copy");
    }
  }

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      const status = button.parentElement.querySelector("[role=status]");
      document.querySelectorAll(".source").forEach((other) => { other.hidden = other !== source; });
      const done = await copied(source);
      status.textContent = done ? `${button.textContent.replace("Copy ", "")} copied.` : "Selected: copy it with Ctrl+C.";
    });
  }

  // ---- printing ----

  let opened = [];
  addEventListener("beforeprint", () => {
    printing = true;
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((part) => { part.open = true; });
    figures.forEach((figure) => draw(figure, 640));
  });
  addEventListener("afterprint", () => {
    printing = false;
    opened.forEach((part) => { part.open = false; });
    figures.forEach((figure) => draw(figure));
  });
})();
