function render({ model, el }) {
  const left = 130, cell = 18, head = 26;
  const order = model.get("order"), rows = model.get("rows"), titles = model.get("titles");
  const width = Math.max(2, Math.min(24, Math.floor(700 / order.length)));
  const canvas = document.createElement("canvas"), scale = window.devicePixelRatio || 1;
  const size = [left + width * order.length + 2, head + cell * rows.length + 2];
  canvas.className = "hiercl-features";
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", "features: the arrow keys move, the space bar switches a feature on or off");
  [canvas.width, canvas.height] = size.map((s) => s * scale);
  [canvas.style.width, canvas.style.height] = size.map((s) => s + "px");
  el.appendChild(canvas);
  const pen = canvas.getContext("2d");
  let on = [...model.get("on")], painting = null, last = -1, cursor = -1;
  function draw() {
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.fillStyle = "white";
    pen.fillRect(0, 0, ...size);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.fillStyle = "#222";
    pen.fillText("on", 4, head / 2);
    rows.forEach((row, r) => pen.fillText(row.name, 4, head + cell * (r + 0.5), left - 8));
    order.forEach((feature, column) => {
      const x = left + column * width, wide = width > 3 ? width - 1 : width;
      pen.fillStyle = on[feature] ? "#222222" : "#E8E8E8";
      pen.fillRect(x, 4, wide, head - 8);
      pen.globalAlpha = on[feature] ? 1 : 0.15;
      rows.forEach((row, r) => {
        pen.fillStyle = row.colours[feature];
        pen.fillRect(x, head + r * cell, wide, cell - 2);
      });
      pen.globalAlpha = 1;
      if (column === cursor) {
        pen.strokeStyle = "#D55E00";
        pen.lineWidth = 2;
        pen.strokeRect(x - 1, 1, wide + 2, size[1] - 2);
      }
    });
  }
  function save() { model.set("on", [...on]); model.save_changes(); }
  function column(event) {
    const box = canvas.getBoundingClientRect();
    const at = Math.floor((event.clientX - box.left - left) / width);
    return at >= 0 && at < order.length ? at : -1;
  }
  canvas.onpointerdown = (event) => {
    last = column(event);
    if (last < 0) return;
    canvas.setPointerCapture(event.pointerId);
    painting = !on[order[last]];
    on[order[last]] = painting;
    draw();
  };
  canvas.onpointermove = (event) => {
    const at = column(event);
    canvas.title = at < 0 ? "" : titles[order[at]];
    if (painting === null || at < 0) return;
    for (let c = Math.min(at, last); c <= Math.max(at, last); c++) on[order[c]] = painting;
    last = at;
    draw();
  };
  canvas.onpointerup = canvas.onpointercancel = () => { if (painting !== null) { painting = null; save(); } };
  canvas.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) cursor = Math.max(0, Math.min(order.length - 1, cursor + step));
    else if (event.key === " " && cursor >= 0) { on[order[cursor]] = !on[order[cursor]]; save(); }
    else return;
    canvas.title = cursor < 0 ? "" : titles[order[cursor]];
    event.preventDefault();
    event.stopPropagation();
    draw();
  };
  canvas.onblur = () => { cursor = -1; draw(); };
  const changed = () => { on = [...model.get("on")]; draw(); };
  model.on("change:on", changed);
  draw();
  return () => model.off("change:on", changed);
}
export default { render };
