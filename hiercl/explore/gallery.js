function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "hiercl-gallery";
  el.appendChild(box);
  function tile(entry) {
    const button = document.createElement("button");
    button.style.borderColor = entry.colour;
    button.title = entry.title;
    button.setAttribute("aria-label", entry.title);
    button.setAttribute("aria-pressed", String(entry.item === model.get("clicked")));
    const image = document.createElement("img");
    image.src = entry.picture;
    image.alt = "";
    button.appendChild(image);
    for (const [number, line] of entry.lines.entries()) {
      const text = document.createElement("span");
      text.textContent = line;
      if (number === 0 && entry.bold) text.className = "bold";
      button.appendChild(text);
    }
    button.onclick = () => { model.set("clicked", entry.item); model.save_changes(); };
    return button;
  }
  function draw() {
    box.replaceChildren();
    for (const row of model.get("rows")) {
      const head = document.createElement("div");
      head.className = "head";
      head.style.color = row.colour;
      head.textContent = row.title;
      const note = document.createElement("span");
      note.textContent = row.note;
      head.appendChild(note);
      const tiles = document.createElement("div");
      tiles.className = "tiles";
      tiles.append(...row.entries.map(tile));
      box.append(head, tiles);
    }
  }
  model.on("change:rows", draw);
  model.on("change:clicked", draw);
  draw();
}
export default { render };
