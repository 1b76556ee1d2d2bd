"use strict";
// The page works without this script but for the map and the copy button.
(() => {
  const element = (id) => document.getElementById(id);

  function make(tag, text, attributes) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    return made;
  }

  // ---- Copy buttons
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const source = element(button.dataset.copy);
      let done = true;
      try {
        await navigator.clipboard.writeText(source.textContent);
      } catch {
        // A page opened from a disk may not be allowed to; choosing the text is the old way.
        const range = document.createRange();
        range.selectNodeContents(source);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        done = document.execCommand("copy");
      }
      element("copied").textContent = done ? "Copied." : "The text is selected; copy it by hand.";
    });
  }

  const payload = element("payload");
  if (!payload) return;

  // ---- Data of the map
  const data = JSON.parse(payload.textContent);
  function unpack(text, Kind) {
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let at = 0; at < raw.length; at++) bytes[at] = raw.charCodeAt(at);
    return new Kind(bytes.buffer);
  }
  const places = unpack(data.places, Uint16Array);
  const near = unpack(data.near, Uint32Array);
  const likeness = unpack(data.likeness, Uint8Array);
  const total = data.names.length;
  for (const colour of data.colours) {
    colour.codes = colour.codes && unpack(colour.codes, Uint8Array);
    colour.numbers = colour.numbers && unpack(colour.numbers, Float32Array);
  }
  // In a mixed order no kind lies on top because it came last in the file.
  const order = new Uint32Array(total);
  for (let at = 0; at < total; at++) order[at] = at;
  let state = 12345;
  for (let at = total - 1; at > 0; at--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = state % (at + 1);
    [order[at], order[other]] = [order[other], order[at]];
  }
  const tree = d3.quadtree(order, (at) => places[2 * at], (at) => places[2 * at + 1]);

  // ---- Colours
  const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195",
    "#8c564b", "#5f6b00", "#e7298a", "#b5b5b5", "#d9d9d9"];
  const MISSING = "#cfcfcf";
  const PLAIN = "#0072b2";
  const ramp = Array.from({ length: 64 }, (_, step) => d3.color(d3.interpolateViridis(step / 63)).formatHex());
  const inks = new Uint8Array(total);
  let table = [PLAIN];
  let only = -1;
  let colour = null;

  function isRest(name, number, all) {
    return number >= 10 || (number === all - 1 && name === "missing");
  }

  function paintBy(number) {
    colour = data.colours[number] || null;
    only = -1;
    if (!colour) {
      table = [PLAIN];
      inks.fill(0);
    } else if (colour.categories) {
      const all = colour.categories.length;
      table = colour.categories.map((name, at) => (isRest(name, at, all) ? PALETTE[at === all - 1 && all > 11 ? 11 : 10] : PALETTE[at]));
      inks.set(colour.codes);
    } else {
      // The middle 98 % of the values, lest a single one take all the colours.
      const known = Float32Array.from(colour.numbers.filter((v) => Number.isFinite(v))).sort();
      const low = known[Math.floor(0.01 * (known.length - 1))];
      const high = known[Math.ceil(0.99 * (known.length - 1))];
      colour.range = [low, high];
      table = [...ramp, MISSING];
      for (let at = 0; at < total; at++) {
        const value = colour.numbers[at];
        const share = high > low ? (value - low) / (high - low) : 0.5;
        inks[at] = Number.isFinite(value) ? Math.round(63 * Math.min(1, Math.max(0, share))) : 64;
      }
    }
    writeLegend();
    draw();
  }

  function short(value) {
    return Number.isFinite(value) ? String(Number(value.toPrecision(4))) : "missing";
  }

  function writeLegend() {
    const legend = element("legend");
    legend.replaceChildren();
    if (!colour) return;
    if (!colour.categories) {
      const bar = make("span", undefined, { class: "ramp", role: "img", "aria-label": "from dark for low to bright for high values" });
      bar.style.background = `linear-gradient(90deg, ${ramp.filter((_, at) => at % 9 === 0).join(", ")})`;
      legend.append(make("span", short(colour.range[0])), bar, make("span", short(colour.range[1])));
      return;
    }
    colour.categories.forEach((name, at) => {
      const button = make("button", undefined, { type: "button", "aria-pressed": "false", title: "Show these alone" });
      const dot = make("i");
      dot.style.background = table[at];
      button.append(dot, make("span", name));
      button.addEventListener("click", () => {
        only = only === at ? -1 : at;
        [...legend.children].forEach((other, n) => other.setAttribute("aria-pressed", String(n === only)));
        draw();
      });
      legend.append(button);
    });
  }

  // ---- Drawing
  const canvas = element("plot");
  const context = canvas.getContext("2d");
  const tip = element("tip");
  const stats = { frames: 0, spent: 0 };
  let view = d3.zoomIdentity;
  let image = null;
  let pixels = null;
  let chosen = -1;
  let hovered = -1;
  let waiting = false;
  let moving = 0; // the timer that ends a movement
  let afforded = total;

  function fit() {
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (width === canvas.width && height === canvas.height && image) return;
    canvas.width = width;
    canvas.height = height;
    image = context.createImageData(width, height);
    pixels = new Uint32Array(image.data.buffer);
    draw();
  }

  // All places lie in the middle of the canvas with a margin, on one scale along both axes.
  const ends = [d3.extent(places.filter((_, n) => n % 2 === 0)), d3.extent(places.filter((_, n) => n % 2 === 1))];
  function frame() {
    const [[left, right], [top, bottom]] = ends;
    const scale = 0.94 * Math.min(canvas.width / Math.max(1, right - left), canvas.height / Math.max(1, bottom - top));
    return {
      left: canvas.width / 2 - (scale * (left + right)) / 2,
      top: canvas.height / 2 - (scale * (top + bottom)) / 2,
      scale,
    };
  }

  function ratioOf() {
    return canvas.width / Math.max(1, canvas.clientWidth);
  }

  function at(sample) {
    const box = frame();
    const ratio = ratioOf();
    return [
      view.k * (box.left + places[2 * sample] * box.scale) + view.x * ratio,
      view.k * (box.top + places[2 * sample + 1] * box.scale) + view.y * ratio,
    ];
  }

  // A round spot with a soft edge: how far each of its pixels lies from its middle in the array,
  // and its share of the ink. Those that take all of it come first.
  function spot(radius, width) {
    const reach = Math.ceil(radius);
    const found = [];
    for (let y = -reach; y <= reach; y++) {
      for (let x = -reach; x <= reach; x++) {
        const share = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(x, y)));
        if (share > 0.05) found.push([y * width + x, share]);
      }
    }
    found.sort((one, other) => other[1] - one[1]);
    return {
      offsets: Int32Array.from(found, (part) => part[0]),
      shares: Float32Array.from(found, (part) => part[1]),
      whole: found.filter((part) => part[1] === 1).length,
    };
  }

  // Points are mixed into an array of pixels, which is several times faster than drawing 50,000
  // circles and needs no graphics card.
  function paint() {
    const width = canvas.width;
    const height = canvas.height;
    const bytes = image.data;
    pixels.fill(0xffffffff);
    const ratio = ratioOf();
    const size = (total > 20000 ? 1.1 : total > 3000 ? 1.6 : 2.6) * ratio * Math.min(2.5, Math.sqrt(view.k));
    const { offsets, shares, whole } = spot(size, width);
    const reach = Math.ceil(size) + 1;
    const box = frame();
    const scale = view.k * box.scale;
    const left = view.k * box.left + view.x * ratio;
    const top = view.k * box.top + view.y * ratio;
    const inks8 = table.map((name) => d3.rgb(name));
    const inks32 = Uint32Array.from(inks8, (ink) => 0xff000000 + ink.b * 65536 + ink.g * 256 + ink.r);
    const began = performance.now();
    const most = moving ? Math.min(total, afforded) : total;
    for (let n = 0; n < most; n++) {
      const sample = order[n];
      const code = inks[sample];
      if (only >= 0 && code !== only) continue;
      const x = Math.round(left + places[2 * sample] * scale);
      const y = Math.round(top + places[2 * sample + 1] * scale);
      if (x < reach || y < reach || x >= width - reach || y >= height - reach) continue;
      const middle = y * width + x;
      for (let part = 0; part < whole; part++) pixels[middle + offsets[part]] = inks32[code];
      const { r, g, b } = inks8[code];
      for (let part = whole; part < offsets.length; part++) {
        const share = shares[part];
        const to = 4 * (middle + offsets[part]);
        bytes[to] += share * (r - bytes[to]);
        bytes[to + 1] += share * (g - bytes[to + 1]);
        bytes[to + 2] += share * (b - bytes[to + 2]);
      }
    }
    // What a slow machine can draw of them in half a frame; the order is a random one.
    const rate = most / Math.max(0.1, performance.now() - began);
    afforded = Math.max(4000, Math.round(8 * rate));
  }

  function ring(sample, colourOf, wide) {
    const ratio = ratioOf();
    const [x, y] = at(sample);
    context.beginPath();
    context.arc(x, y, 6 * ratio, 0, 2 * Math.PI);
    context.lineWidth = wide * ratio;
    context.strokeStyle = colourOf;
    context.stroke();
  }

  let stale = true;
  function render() {
    waiting = false;
    if (!image) return;
    const began = performance.now();
    if (stale) paint();
    stale = false;
    context.putImageData(image, 0, 0);
    if (chosen >= 0) {
      const [x, y] = at(chosen);
      context.lineWidth = ratioOf();
      context.strokeStyle = "#333";
      for (const other of neighbours(chosen)) {
        const [toX, toY] = at(other);
        context.beginPath();
        context.moveTo(x, y);
        context.lineTo(toX, toY);
        context.stroke();
        ring(other, "#333", 1.5);
      }
      ring(chosen, "#000", 3);
    }
    if (hovered >= 0) ring(hovered, "#a3301f", 2);
    stats.frames += 1;
    stats.spent += performance.now() - began;
  }

  function draw(alsoPoints = true) {
    stale = stale || alsoPoints;
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(render);
  }

  // ---- Samples
  function neighbours(sample) {
    return near.subarray(sample * data.k, (sample + 1) * data.k);
  }

  function facts(sample) {
    return data.colours.filter((one) => one === colour || !one.given).map((one) => {
      const value = one.categories ? one.categories[one.codes[sample]] : short(one.numbers[sample]);
      return `${one.name}: ${value}`;
    });
  }

  // Views were escaped when the page was written, and the page's policy runs no foreign script.
  function show(into, sample, note) {
    if (data.views[sample] !== null) {
      const shown = make("div");
      shown.innerHTML = data.views[sample];
      into.append(shown);
    }
    into.append(make("span", String(data.names[sample]), { class: "name" }));
    for (const fact of facts(sample)) into.append(make("span", fact, { class: "fact" }));
    if (note) into.append(make("span", note, { class: "fact small" }));
    return into;
  }

  function card(sample, note) {
    const button = show(make("button", undefined, { type: "button", class: "card" }), sample, note);
    button.addEventListener("click", () => choose(sample, true));
    const item = make("li");
    item.append(button);
    return item;
  }

  function choose(sample, moved) {
    chosen = sample;
    const panel = element("chosen");
    // A button that was clicked is about to be replaced; the focus goes on to its successor.
    const inside = panel.contains(document.activeElement);
    panel.replaceChildren();
    if (sample < 0) {
      panel.append(make("p", "No sample is chosen.", { class: "small" }));
    } else {
      panel.append(make("h3", `Sample ${data.names[sample]} and its nearest neighbours`));
      const list = make("ul", undefined, { class: "samples" });
      const own = card(sample, "chosen");
      own.firstChild.setAttribute("aria-current", "true");
      element("said").textContent = [`Sample ${data.names[sample]}`, ...facts(sample)].join(", ");
      list.append(own);
      neighbours(sample).forEach((other, rank) => {
        list.append(card(other, `cosine ${(likeness[sample * data.k + rank] / 255).toFixed(2)}`));
      });
      panel.append(list);
      if (inside) own.firstChild.focus();
      if (moved) bringIntoView(sample);
    }
    draw(false);
  }

  function bringIntoView(sample) {
    const [x, y] = at(sample);
    if (x < 0 || y < 0 || x > canvas.width || y > canvas.height) whole();
  }

  for (const button of document.querySelectorAll("[data-sample]")) {
    button.addEventListener("click", () => {
      choose(Number(button.dataset.sample), true);
      canvas.scrollIntoView({ block: "center" });
      canvas.focus({ preventScroll: true });
    });
  }

  // ---- Hands
  function under(event) {
    const ratio = ratioOf();
    const [x, y] = d3.pointer(event, canvas);
    const box = frame();
    const scale = view.k * box.scale;
    const placeX = (x * ratio - view.x * ratio - view.k * box.left) / scale;
    const placeY = (y * ratio - view.y * ratio - view.k * box.top) / scale;
    const reach = (14 * ratio) / scale;
    const found = only < 0 ? tree.find(placeX, placeY, reach) : nearestShown(placeX, placeY, reach);
    return found === undefined ? -1 : found;
  }

  function nearestShown(x, y, reach) {
    let best;
    let least = reach * reach;
    for (let sample = 0; sample < total; sample++) {
      if (inks[sample] !== only) continue;
      const away = (places[2 * sample] - x) ** 2 + (places[2 * sample + 1] - y) ** 2;
      if (away < least) [least, best] = [away, sample];
    }
    return best;
  }

  function showTip(sample) {
    if (sample === hovered) return;
    hovered = sample;
    tip.hidden = sample < 0;
    if (sample >= 0) {
      tip.replaceChildren();
      show(tip, sample);
      const ratio = ratioOf();
      const [x, y] = at(sample).map((v) => v / ratio);
      const wide = canvas.clientWidth;
      tip.style.left = `${Math.max(0, Math.min(x + 12, wide - tip.offsetWidth - 4))}px`;
      const below = y + 14 + tip.offsetHeight < canvas.clientHeight;
      tip.style.top = `${below ? y + 14 : Math.max(0, y - tip.offsetHeight - 14)}px`;
    }
    draw(false);
  }

  // The wheel and a single finger belong to the page until they are clearly meant for the map.
  function meant(event) {
    if (event.type === "wheel") return event.ctrlKey || document.activeElement === canvas;
    if (event.type.startsWith("touch")) return event.touches.length > 1;
    return !event.button;
  }

  const zoom = d3.zoom().filter(meant).scaleExtent([0.8, 60]).clickDistance(6).on("zoom", (event) => {
    view = event.transform;
    showTip(-1);
    clearTimeout(moving);
    moving = setTimeout(() => {
      moving = 0;
      if (afforded < total) draw();
    }, 150);
    draw();
  });
  const hand = d3.select(canvas);
  hand.call(zoom).on("dblclick.zoom", null);
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons === 0) showTip(under(event));
  });
  canvas.addEventListener("pointerleave", () => showTip(-1));
  canvas.addEventListener("click", (event) => {
    canvas.focus({ preventScroll: true });
    choose(under(event));
  });

  function whole() {
    hand.call(zoom.transform, d3.zoomIdentity);
  }
  element("reset").addEventListener("click", whole);

  // The nearest sample whose direction differs from the arrow's by less than 45 degrees.
  function towards(sample, stepX, stepY) {
    let best = -1;
    let least = Infinity;
    const [x, y] = [places[2 * sample], places[2 * sample + 1]];
    for (let other = 0; other < total; other++) {
      const dx = places[2 * other] - x;
      const dy = places[2 * other + 1] - y;
      const along = dx * stepX + dy * stepY;
      if (along <= 0 || along < Math.abs(dx * stepY + dy * stepX)) continue;
      if (only >= 0 && inks[other] !== only) continue;
      const away = dx * dx + dy * dy;
      if (away < least) [least, best] = [away, other];
    }
    return best;
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (ARROWS[event.key]) {
      const from = chosen >= 0 ? chosen : tree.find(32768, 32768);
      const next = chosen >= 0 ? towards(from, ...ARROWS[event.key]) : from;
      if (next >= 0) {
        choose(next, true);
        showTip(next);
      }
    } else if (event.key === "+" || event.key === "=") {
      hand.call(zoom.scaleBy, 1.4);
    } else if (event.key === "-") {
      hand.call(zoom.scaleBy, 1 / 1.4);
    } else if (event.key === "Escape") {
      choose(-1);
      showTip(-1);
    } else {
      return;
    }
    event.preventDefault();
  });
  canvas.addEventListener("blur", () => showTip(-1));

  element("colour").addEventListener("change", (event) => paintBy(Number(event.target.value)));
  element("find").addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = element("name").value.trim().toLowerCase();
    const names = data.names.map((name) => String(name).toLowerCase());
    let found = names.indexOf(wanted);
    if (found < 0 && wanted) found = names.findIndex((name) => name.includes(wanted));
    choose(found, true);
    if (found < 0) element("chosen").firstChild.textContent = "There is no sample of that name on the map.";
  });

  new ResizeObserver(fit).observe(canvas);
  paintBy(Number(element("colour").value));
  fit();
  // For whoever wants to know how fast it is.
  window.metamaeMap = { stats, at: (sample) => at(sample).map((v) => v / ratioOf()), total };
})();
