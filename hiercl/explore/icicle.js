function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "hiercl-icicle";
  el.appendChild(box);
  const levels = [], total = model.get("total");
  const percent = (items) => (100 * items) / total + "%";
  model.get("bars").forEach((bar, number) => {
    if (!levels[bar.level]) {
      const name = document.createElement("span"), row = document.createElement("div");
      name.textContent = `level ${bar.level}`;
      row.className = "row";
      box.append(name, row);
      levels[bar.level] = row;
    }
    if (!bar.items) return; // an empty node has no width
    const button = document.createElement("button");
    button.style.left = percent(bar.start);
    button.style.width = percent(bar.items);
    button.style.background = bar.colour;
    button.style.color = bar.ink;
    button.textContent = bar.name;
    button.title = `${bar.name}\n${bar.items.toLocaleString("en")} items`;
    button.setAttribute("aria-label", `level ${bar.level}: ${button.title}`);
    button.dataset.number = number;
    button.onclick = () => { model.set("chosen", number); model.save_changes(); };
    levels[bar.level].appendChild(button);
  });
  function mark() {
    for (const button of box.querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(Number(button.dataset.number) === model.get("chosen")));
  }
  model.on("change:chosen", mark);
  mark();
  return () => model.off("change:chosen", mark);
}
export default { render };
