// Draws the plots of a job's page from the numbers in #figures, in the colours of snas.css.

const choices = { "plot-pareto": null, "plot-curves": "accuracy", "plot-egf": "egf_1" };
const QUIET_LINE = 1;
const DIGITS = { accuracy: ".2%", loss: ".4f", egf_1: ".3e", egf_2: ".3e" };
const WORDS = {
  weights: "active weights", macs: "multiply-adds per sample", number: "trial", accuracy: "accuracy", balanced_accuracy: "balanced accuracy",
  loss: "loss", egf_1: "EGF₁", egf_2: "EGF₂",
};

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function layout(more) {
  const axis = {
    gridcolor: colour("plot-grid"), linecolor: colour("line"), zeroline: false, automargin: true, tickfont: { color: colour("soft") },
    title: { font: { color: colour("soft"), size: 13 }, standoff: 10 },
  };
  return {
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 56, r: 16, t: 14, b: 48 },
    hoverlabel: { bgcolor: colour("surface"), bordercolor: colour("line"), font: { color: colour("ink") } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { color: colour("soft") } },
    hovermode: "closest", ...more,
    xaxis: { ...axis, ...more.xaxis, title: { ...axis.title, ...more.xaxis?.title } },
    yaxis: { ...axis, ...more.yaxis, title: { ...axis.title, ...more.yaxis?.title } },
  };
}

function draw(id, traces, more) {
  const element = document.getElementById(id);
  if (element) Plotly.react(element, traces, layout(more), { displayModeBar: false, responsive: true });
}

function pareto(data) {
  const against = choices["plot-pareto"] ?? data.against;
  const trace = (name, points, marker, more) => ({
    type: "scatter", mode: "markers", name, marker, x: points.map((p) => p[against]), y: points.map((p) => p.accuracy),
    customdata: points.map((p) => [p.number, p.label, p.weights, p.macs, p.loss]),
    hovertemplate: "<b>trial %{customdata[0]}</b>, %{customdata[1]}<br>accuracy %{y:.2%}, loss %{customdata[4]:.4f}<br>%{customdata[2]:,} weights, %{customdata[3]:,} multiply-adds<extra></extra>",
    ...more,
  });
  const stopped = data.points.filter((p) => p.state === "pruned");
  const front = data.points.filter((p) => p.front).sort((a, b) => a[against] - b[against]);
  const rest = data.points.filter((p) => !p.front && p.state === "complete");
  const starts = rest.filter((p) => p.label.startsWith("start:"));
  const others = rest.filter((p) => !p.label.startsWith("start:"));
  const chosen = data.points.filter((p) => p.chosen);
  const line = { mode: front.length > 1 && against === "weights" ? "lines+markers" : "markers", line: { color: colour("accent"), width: 1.5, shape: "hv" } };
  const traces = [
    trace("stopped early", stopped, { color: colour("plot-quiet"), size: 7, symbol: "x-thin", line: { color: colour("plot-quiet"), width: 1.5 } }),
    trace("trial", others, { color: colour("plot-quiet"), size: 9 }),
    trace("start", starts, { color: colour("plot-start"), size: 9, symbol: "diamond" }),
    trace("front", front, { color: colour("accent"), size: 10 }, line),
    trace("chosen", chosen, { color: "rgba(0,0,0,0)", size: 19, line: { color: colour("accent"), width: 2 } }),
  ].filter((each) => each.x.length);
  draw("plot-pareto", traces, {
    xaxis: {
      title: { text: WORDS[against] }, ...(against === "number" ? steps(data.points.map((p) => p.number)) : { tickformat: "~s" }),
      type: against !== "number" && wide(data.points.map((p) => p[against])) ? "log" : "linear",
    },
    yaxis: { title: { text: "validation accuracy" }, tickformat: "~%" },
  });
}

// Whole numbers have no ticks between them.
const steps = (values) => ({ tickformat: "d", ...(Math.max(...values) <= 12 ? { tick0: 0, dtick: 1 } : {}) });

const wide = (values) => Math.max(...values) > 4 * Math.min(...values);

function densities(data) {
  const looks = {
    chosen: { line: { color: colour("accent"), width: 3 }, marker: { size: 9 } },
    front: { line: { color: colour("accent"), width: 1.2 }, marker: { size: 6 }, opacity: 0.55 },
    start: { line: { color: colour("plot-start"), width: 2, dash: "dash" }, marker: { size: 7, symbol: "diamond" } },
  };
  const traces = data.series.map((each) => ({
    type: "scatter", mode: "lines+markers", name: each.name, x: data.layers, y: each.densities, ...looks[each.role],
    hovertemplate: `<b>${each.name}</b><br>%{x}: %{y:.2%}<extra></extra>`,
  }));
  draw("plot-densities", traces, {
    xaxis: { type: "category" },
    yaxis: { title: { text: "density" }, type: "log", tickformat: ".2~%", dtick: "D2" },
  });
}

function curves(id, data) {
  const name = choices[id];
  const looks = {
    complete: { color: colour("plot-quiet"), width: QUIET_LINE }, pruned: { color: colour("plot-quiet"), width: QUIET_LINE, dash: "dot" },
    failed: { color: colour("bad"), width: QUIET_LINE }, training: { color: colour("good"), width: 2 },
    front: { color: colour("accent"), width: 1.3 }, chosen: { color: colour("accent"), width: 3 },
  };
  const order = ["failed", "pruned", "complete", "front", "chosen", "training"];
  const named = { complete: "trial", pruned: "stopped early", training: "in training" };
  const shown = new Set();
  const sorted = [...data.lines].sort((a, b) => order.indexOf(a.role) - order.indexOf(b.role));
  const traces = sorted.map((each) => {
    const first = !shown.has(each.role);
    shown.add(each.role);
    return {
      type: "scatter", mode: each.epochs.length > 1 ? "lines" : "markers", x: each.epochs, y: each[name], line: looks[each.role], connectgaps: true,
      marker: { color: looks[each.role].color }, name: named[each.role] ?? each.role, legendgroup: each.role, showlegend: first,
      hovertemplate: `<b>trial ${each.trial}</b>, ${each.label}<br>epoch %{x}: %{y:${DIGITS[name]}}<extra></extra>`,
    };
  });
  const percents = name === "accuracy";
  draw(id, traces, {
    xaxis: { title: { text: "epoch" }, ...steps(data.lines.flatMap((each) => each.epochs)) },
    yaxis: { title: { text: WORDS[name] }, type: percents ? "linear" : "log", tickformat: percents ? "~%" : "~g", dtick: percents ? undefined : "D2" },
  });
}

function confirmation(data) {
  const names = data.arms.map((arm) => arm.name);
  const look = (arm) => colour(arm.name === "snas" ? "accent" : "soft");
  const spread = (index, count) => (count > 1 ? (index / (count - 1) - 0.5) * 0.34 : 0);
  const dots = data.arms.map((arm, row) => ({
    type: "scatter", mode: "markers", showlegend: false, x: arm.values, y: arm.values.map((_, index) => row + spread(index, arm.values.length)),
    marker: { color: look(arm), size: 8, opacity: 0.45 }, hovertemplate: `<b>${arm.name}</b> %{x:.2%}<extra></extra>`,
  }));
  const means = data.arms.map((arm, row) => ({
    type: "scatter", mode: "markers", showlegend: false, x: [arm.mean], y: [row],
    error_x: { type: "data", array: [arm.sd ?? 0], color: look(arm), thickness: 2, width: 7 },
    marker: { color: look(arm), size: 17, symbol: "line-ns", line: { color: look(arm), width: 3 } },
    hovertemplate: `<b>${arm.name}</b> mean %{x:.2%}<extra></extra>`,
  }));
  draw("plot-confirmation", [...dots, ...means], {
    xaxis: { title: { text: `test ${WORDS[data.measure]}` }, tickformat: "~%" },
    yaxis: { tickmode: "array", tickvals: names.map((_, row) => row), ticktext: names, range: [names.length - 0.5, -0.5], showgrid: false },
  });
}

function drawAll() {
  const data = JSON.parse(document.getElementById("figures").textContent);
  if (data.pareto) pareto(data.pareto);
  if (data.densities) densities(data.densities);
  if (data.curves) { curves("plot-curves", data.curves); curves("plot-egf", data.curves); }
  if (data.confirmation) confirmation(data.confirmation);
  for (const group of document.querySelectorAll(".choice"))
    for (const button of group.querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(button.value === (choices[group.dataset.plot] ?? data.pareto?.against)));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest(".choice button");
  if (!button) return;
  choices[button.parentElement.dataset.plot] = button.value;
  drawAll();
});
document.addEventListener("refreshed", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
drawAll();
