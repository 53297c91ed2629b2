"use strict";
/* The table of a board: sorting, searching, columns, pinned rows and a choice of settings, with the state in the address.

The page holds the whole table already. DataTables sorts, searches and hides columns; means, intervals and ranks over
chosen settings follow posbench/leaderboard/boards.py and ranks.py, from the figures in data/SLUG.js, which is loaded
when they are first needed. */
window.posbenchUnpacked.then(() => {
  const FEWER = 3; // columns before the figures: pin, rank, model
  const page = JSON.parse(document.getElementById("data").textContent);
  const element = document.getElementById("board");
  const byId = (id) => document.getElementById(id);
  const all = (selector, of = document) => [...of.querySelectorAll(selector)];
  const column = {pin: 0, rank: 1, model: 2};
  page.columns.forEach((one, i) => { column[one.key] = FEWER + i; });
  const names = ["pin", "rank", "model", ...page.columns.map((one) => one.key)];
  const labels = ["Pin", "rank", "model", ...page.columns.map((one) => one.label)];

  /* ---- what the page says ---- */

  const number = (text) => text === "–" ? NaN : Number(text.replace("−", "-"));

  function figure(x) { // as Python prints it: toFixed rounds an exact half away from zero, Python to the even digit
    if (!Number.isFinite(x)) return "–";
    const half = Math.abs(x * 16) % 4 === 1; // 1/16, 5/16 ...: the exact halves after an even third digit
    const text = (half ? x - Math.sign(x) * 1e-6 : x).toFixed(3);
    return text.replace("-", "−");
  }

  function words([value, low, high]) { // a figure and its interval
    return [figure(value), Number.isFinite(low) && Number.isFinite(high) ? `${figure(low)} to ${figure(high)}` : ""];
  }

  function write(td, [value, ends]) { // where the cell has an interval already, without making elements
    if (!ends) td.textContent = value;
    else if (!td.firstElementChild) td.innerHTML = `${value} <i>${ends}</i>`;
    else {
      td.firstChild.data = `${value} `;
      td.firstElementChild.firstChild.data = ends;
    }
  }

  const rows = [...element.tBodies[0].rows].map((row) => ({
    rank: row.cells[0],
    model: row.cells[1],
    name: row.cells[1].firstElementChild.textContent,
    figures: [...row.cells].slice(2),
  }));
  const written = page.columns.map(() => null); // by column, what the page says over all settings; read when first needed
  const asWritten = (c) => written[c] ||= rows.map(({figures: cells}) => [cells[c].firstChild.data.trim(), cells[c].firstElementChild?.textContent || ""]);
  const firstRanks = rows.map((row) => number(row.rank.textContent.trim()));

  const isWhole = () => state.settings.length === page.settings.length;
  const howMany = () => isWhole() ? `all ${page.settings.length}` : `${state.settings.length} of ${page.settings.length}`;

  const state = {
    sort: page.columns[0].key,
    down: true,
    search: "",
    settings: page.settings,
    columns: page.columns.filter((one) => one.shown).map((one) => one.key),
    pins: new Set(),
    values: page.columns.map(() => null), // by column, what it is sorted by
    ranks: firstRanks,
    stale: new Set(), // columns that do not say yet what is chosen
  };
  const initial = {...state};

  /* ---- means, intervals and ranks over chosen settings ---- */

  let figures = null; // of data/SLUG.js, unpacked
  let waiting = [];

  function unpacked({scale, values}) {
    const bytes = Uint8Array.from(atob(values), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float64Array.from({length: bytes.length / 4}, (_, i) => {
      const whole = view.getInt32(4 * i, true);
      return whole === -(2 ** 31) ? NaN : whole / scale;
    });
  }

  window.posbenchData = (data) => {
    const parts = (packed) => packed.map(unpacked);
    figures = {...data, margins: data.margins && unpacked(data.margins), figures: {}};
    for (const [measure, lengths] of Object.entries(data.figures)) {
      figures.figures[measure] = Object.fromEntries(Object.entries(lengths).map(([k, packed]) => [k, parts(packed)]));
    }
    for (const then of waiting.splice(0)) then();
  };

  function withFigures(then) {
    if (figures) return then();
    if (waiting.push(then) > 1) return undefined;
    const script = document.createElement("script");
    script.src = new URL(`../data/${page.slug}.js`, document.querySelector("link[rel=stylesheet]").href).href;
    script.onerror = () => { waiting = []; byId("said").textContent = `The figures by setting (${script.src}) did not load.`; };
    document.head.append(script);
    return undefined;
  }

  function mean(values) {
    let sum = 0;
    for (const x of values) sum += x;
    return sum / values.length;
  }

  function deviation(values) { // of a sample: divided by n - 1
    const centre = mean(values);
    let sum = 0;
    for (const x of values) sum += (x - centre) ** 2;
    return Math.sqrt(sum / (values.length - 1));
  }

  function picked(array, m, chosen) { // the chosen settings of model m
    const found = new Float64Array(chosen.length);
    for (let i = 0; i < chosen.length; i++) found[i] = array[m * page.settings.length + chosen[i]];
    return found;
  }

  function average(measure, length, m, chosen) { // boards._mean and ranks.interval_over_settings: value, low, high
    const parts = figures.figures[measure][length];
    const values = picked(parts[0], m, chosen);
    const value = mean(values);
    const ends = parts.length === 3 ? [mean(picked(parts[1], m, chosen)), mean(picked(parts[2], m, chosen))] : [NaN, NaN];
    if (!Number.isNaN(ends[0])) return [value, ...ends];
    if (Number.isNaN(value) || values.length < figures.fewest) return [value, NaN, NaN];
    const half = figures.interval[values.length - 1] * deviation(values) / Math.sqrt(values.length);
    if (figures.fractions.includes(measure)) return [value, Math.max(0, value - half), Math.min(1, value + half)];
    return [value, value - half, value + half];
  }

  function ranks(chosen) { // boards.rank_of: 1 + how many are better beyond doubt; NaN without a mean
    const values = rows.map((_, m) => picked(figures.figures[figures.main][0][0], m, chosen));
    const means = values.map(mean);
    const margins = figures.margins && rows.map((_, m) => mean(picked(figures.margins, m, chosen)));
    const known = means.filter((x) => !Number.isNaN(x)).length;
    const enough = chosen.length >= figures.fewest;
    const critical = figures.critical && enough ? figures.critical[known][chosen.length - 1] / Math.sqrt(chosen.length) : 0;
    const better = (a, b) => {
      if (!(means[a] > means[b])) return false;
      if (margins) return means[a] - means[b] > margins[a] + margins[b];
      if (!enough) return true;
      const differences = values[a].map((x, s) => x - values[b][s]);
      return mean(differences) > critical * deviation(differences);
    };
    return rows.map((_, b) => Number.isNaN(means[b]) ? NaN : 1 + rows.filter((__, a) => better(a, b)).length);
  }

  function recompute() { // ranks at once, means of columns as they are seen or sorted by
    const chosen = state.settings.map((name) => page.settings.indexOf(name));
    state.ranks = isWhole() ? firstRanks : ranks(chosen);
    page.columns.forEach(({measure}, c) => {
      if (!measure) return;
      asWritten(c);
      state.stale.add(c);
    });
    page.columns.forEach((_, c) => { if (visible(c)) refresh(c); });
    rows.forEach((row, m) => { row.rank.textContent = Number.isNaN(state.ranks[m]) ? "–" : state.ranks[m]; });
    byId("mean-of").textContent = howMany();
  }

  function refresh(c) {
    if (!state.stale.delete(c)) return;
    const {measure, length} = page.columns[c];
    const chosen = state.settings.map((name) => page.settings.indexOf(name));
    const found = isWhole() ? null : rows.map((_, m) => average(measure, length, m, chosen));
    state.values[c] = found && found.map(([value]) => value);
    rows.forEach((row, m) => write(row.figures[c], found ? words(found[m]) : written[c][m]));
  }

  /* ---- the table ---- */

  function prepare() { // a column to pin rows with, and buttons to sort by
    const head = element.tHead.rows[0];
    const pin = document.createElement("th");
    pin.scope = "col";
    pin.className = "pin";
    pin.textContent = "Pin";
    [...head.cells].forEach((th, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.sort = names[i + 1];
      button.append(...th.childNodes);
      th.append(button);
    });
    head.prepend(pin);
    element.setAttribute("role", "table"); // with roles, as rows of fixed widths are no table to some browsers
    for (const [role, selector] of Object.entries({rowgroup: "thead, tbody", row: "tr", columnheader: "thead th", rowheader: "tbody th", cell: "td"})) {
      for (const one of all(selector, element)) one.setAttribute("role", role);
    }
    element.classList.add("live");
    rows.forEach((row, m) => {
      const box = document.createElement("input");
      box.type = "checkbox";
      box.dataset.pin = m;
      box.setAttribute("aria-label", `Pin ${row.name}`);
      const td = document.createElement("td");
      td.className = "pin";
      td.setAttribute("role", "cell");
      td.append(box);
      row.rank.before(td);
      row.box = box;
    });
  }

  function keys(place) { // what a column is sorted by, with rows that have no figure at the end whichever way it runs
    if (place === column.pin) return rows.map((_, m) => state.pins.has(page.models[m]) ? 0 : 1);
    if (place === column.model) return rows.map((row) => row.name.toLowerCase());
    const c = place - FEWER;
    if (place !== column.rank) refresh(c);
    const values = place === column.rank ? state.ranks : state.values[c] ||= asWritten(c).map(([text]) => number(text));
    return values.map((x) => Number.isNaN(x) ? (state.down ? -Infinity : Infinity) : x);
  }

  prepare();
  DataTable.ext.order.board = (_, place) => keys(place);
  DataTable.ext.errMode = "throw";
  read();
  const table = new DataTable(element, {
    paging: false,
    info: false,
    autoWidth: false,
    typeDetect: false,
    ordering: {indicators: false, handler: false},
    layout: {topStart: null, topEnd: null, bottomStart: null, bottomEnd: null},
    order: order(),
    language: {zeroRecords: "No model has these words in its name."},
    columnDefs: [
      {targets: column.model, type: "string", orderDataType: "board", searchable: false},
      {targets: page.columns.map((_, i) => i).filter((i) => !visible(i)).map((i) => FEWER + i), visible: false},
      {targets: "_all", type: "num", orderDataType: "board", searchable: false},
    ],
  });

  table.search.fixed("words", (text, data, m) => {
    const name = rows[m].model.textContent.toLowerCase();
    return state.search.toLowerCase().split(/\s+/).every((word) => name.includes(word));
  });

  function visible(i) { return state.columns.includes(page.columns[i].key); }

  function order() { // models that share a rank by the mean, best first
    const pinned = [column.pin, "asc"];
    const by = [column[state.sort], state.down ? "desc" : "asc"];
    return state.sort === "rank" ? [pinned, by, [FEWER, state.down ? "asc" : "desc"]] : [pinned, by];
  }

  function show() { // the state, in table, controls, address and words
    table.order(order()).draw();
    for (const th of element.tHead.rows[0].cells) { // DataTables marks the column of pins
      if (th.querySelector("button")?.dataset.sort === state.sort) th.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    }
    for (const none of all(".dt-empty", element)) { none.setAttribute("role", "cell"); none.parentElement.setAttribute("role", "row"); }
    const shown = table.rows({search: "applied"}).count();
    const ways = {rank: ["best first", "best last"], model: ["from A to Z", "from Z to A"]};
    const way = (ways[state.sort] || ["lowest first", "highest first"])[state.down ? 1 : 0];
    const parts = [`${shown} of ${rows.length} models`, `sorted by ${labels[column[state.sort]]}, ${way}`];
    if (state.pins.size) parts.push(`${state.pins.size} pinned`);
    if (!state.settings.length) parts.push("no settings chosen, so that there are no means");
    else if (page.settings.length > 1) parts.push(`mean of ${howMany()} settings`);
    const lacking = state.ranks.filter(Number.isNaN).length;
    if (state.settings.length && lacking) parts.push(`${lacking} without a mean and rank, for want of a chosen setting: choose fewer settings to see them ranked`);
    byId("said").textContent = parts.join("; ") + ".";
    controls();
    address();
  }

  function controls() {
    byId("search").value = state.search;
    for (const box of all("input[name=setting]")) box.checked = state.settings.includes(box.value);
    for (const box of all("input[name=column]")) box.checked = state.columns.includes(box.value);
    rows.forEach((row, m) => {
      row.box.checked = state.pins.has(page.models[m]);
      row.model.parentElement.classList.toggle("pinned", row.box.checked);
    });
    if (byId("settings")) byId("settings-chosen").textContent = howMany();
    element.style.setProperty("--figures", state.columns.length);
    byId("columns-chosen").textContent = `${state.columns.length} of ${page.columns.length}`;
  }

  function choose(settings) {
    state.settings = page.settings.filter((name) => settings.includes(name));
    if (isWhole()) { recompute(); show(); }
    else withFigures(() => { recompute(); show(); });
  }

  function showColumns(wanted) {
    state.columns = page.columns.map((one) => one.key).filter((key) => wanted.includes(key));
    page.columns.forEach((_, i) => {
      if (visible(i)) refresh(i);
      const one = table.column(FEWER + i);
      if (one.visible() !== visible(i)) one.visible(visible(i), false);
    });
    show();
  }

  /* ---- the address ---- */

  const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);
  const group = () => Object.entries(page.groups).find(([, members]) => same(members, state.settings));

  function choice(key, all, named) { // names that the board has not, as of an old link, are passed over
    const known = all.filter((name) => named.includes(name));
    if (known.length || named.includes("")) state[key] = known;
  }

  function read() {
    const query = new URLSearchParams(location.search);
    const sort = query.get("sort") || "";
    const by = sort.replace(/^-/, "");
    if (by !== "pin" && Object.hasOwn(column, by)) Object.assign(state, {sort: by, down: sort.startsWith("-")});
    state.search = query.get("q") || "";
    const named = query.getAll("setting").flatMap((name) => Object.hasOwn(page.groups, name) ? page.groups[name] : [name]);
    choice("settings", page.settings, named);
    choice("columns", page.columns.map((one) => one.key), query.getAll("column"));
    state.pins = new Set(query.getAll("pin").filter((pin) => page.models.includes(pin)));
  }

  function address() {
    const query = new URLSearchParams();
    if (state.sort !== initial.sort || state.down !== initial.down) query.set("sort", (state.down ? "-" : "") + state.sort);
    if (state.search) query.set("q", state.search);
    if (!isWhole()) {
      const found = group();
      const named = found ? [found[0]] : state.settings.length ? state.settings : [""];
      for (const name of named) query.append("setting", name);
    }
    if (!same(state.columns, initial.columns)) for (const key of state.columns.length ? state.columns : [""]) query.append("column", key);
    for (const pin of state.pins) query.append("pin", pin);
    const text = query.toString();
    history.replaceState(null, "", location.pathname + (text ? `?${text}` : "") + location.hash);
  }

  /* ---- what a reader does ---- */

  element.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-sort]");
    if (!button) return;
    const sort = button.dataset.sort;
    const upFirst = sort === "rank" || sort === "model";
    state.down = state.sort === sort ? !state.down : !upFirst;
    state.sort = sort;
    show();
  });
  element.tBodies[0].addEventListener("change", (event) => {
    const m = event.target.dataset.pin;
    if (m === undefined) return;
    if (event.target.checked) state.pins.add(page.models[m]);
    else state.pins.delete(page.models[m]);
    show();
    event.target.focus();
  });
  const form = byId("controls");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.id === "search") { state.search = event.target.value; show(); }
    const checked = (name) => all(`input[name=${name}]:checked`, form).map((box) => box.value);
    if (event.target.name === "setting") choose(checked("setting"));
    if (event.target.name === "column") showColumns(checked("column"));
  });
  form.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const {choose: wanted, columns} = button.dataset;
    if (wanted) choose(wanted === "all" ? page.settings : page.groups[wanted] || []);
    if (columns) showColumns(columns === "all" ? page.columns.map((one) => one.key) : initial.columns);
    if (button.id === "reset") {
      Object.assign(state, {sort: initial.sort, down: initial.down, search: "", pins: new Set()});
      showColumns(initial.columns);
      choose(page.settings);
    }
  });
  const close = (except) => { for (const open of all("details.choice[open]")) if (open !== except) open.open = false; };
  document.addEventListener("click", (event) => close(event.target.closest("details.choice")));
  form.addEventListener("keydown", (event) => {
    const open = event.target.closest("details.choice[open]");
    if (event.key !== "Escape" || !open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });

  form.hidden = false;
  if (isWhole()) show();
  else choose(state.settings);
}).catch(console.error);
