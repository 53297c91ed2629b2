// The comparison of two to five models. Figures of a board come from data/compare-BOARD.js when it is chosen; the rule
// is that of posbench.site.comparison. The choice stands in the address, so that it can be shared.
(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const FEWEST = 3;
  const at = function (id) { return document.getElementById(id); };
  const state = {board: null, models: [], settings: []};

  // Numbers as Python prints them: three decimals, halves to even, a true minus sign.
  function figure(value) {
    const tie = Number.isInteger(value * 16) && (value * 16) % 2 !== 0;
    let text = value.toFixed(3);
    if (tie) {
      const down = Math.floor(Math.abs(value) * 1000);
      text = (value < 0 ? "-" : "") + ((down + (down % 2)) / 1000).toFixed(3);
    }
    if (value < 0 && !text.startsWith("-")) text = "-" + text;
    return text.replace("-", "\u2212");
  }
  function between(low, high) { return "[" + figure(low) + ", " + figure(high) + "]"; }

  // Elements; text is only ever set as text.
  function element(name, text, attributes) {
    const made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = text;
    Object.entries(attributes || {}).forEach(function (pair) { made.setAttribute(pair[0], pair[1]); });
    return made;
  }
  function table(caption, heads, rows) {
    const place = element("div", null, {"class": "scroll", role: "region", tabindex: "0", "aria-label": caption});
    const made = element("table");
    made.append(element("caption", caption));
    const head = made.createTHead().insertRow();
    heads.forEach(function (name) { head.append(element("th", name, {scope: "col"})); });
    const body = made.createTBody();
    rows.forEach(function (cells) {
      const row = body.insertRow();
      cells.forEach(function (cell, i) {
        row.append(i ? element("td", cell) : element("th", cell, {scope: "row"}));
      });
    });
    place.append(made);
    return place;
  }

  // Arithmetic.
  function mean(values) { return values.reduce(function (a, b) { return a + b; }, 0) / values.length; }
  function spread(values) {
    const centre = mean(values);
    return Math.sqrt(values.reduce(function (sum, v) { return sum + (v - centre) * (v - centre); }, 0) / (values.length - 1));
  }
  function values(board, model, length, settings) {
    return settings.map(function (s) { return board.values[model][length][s]; });
  }
  function complete(row) { return row.every(function (value) { return value !== null; }); }
  function knownModels(board, length, settings) {
    return board.models.filter(function (_, m) { return complete(values(board, m, length, settings)); }).length;
  }
  function upper(found, a, b) {
    const i = Math.min(a, b), j = Math.max(a, b), n = found.models.length;
    return found.half[i * n - i * (i + 1) / 2 + j - i - 1];
  }
  function inSetting(board, first, second, setting) {
    const found = board.pairs[board.settings[setting]];
    if (!found) return null;
    const a = found.models.indexOf(first), b = found.models.indexOf(second);
    if (a < 0 || b < 0) return null;
    return {difference: found.means[a] - found.means[b], half: upper(found, a, b)};
  }
  function byQueries(board, first, second, settings) {
    const found = settings.map(function (s) { return inSetting(board, first, second, s); });
    if (found.some(function (one) { return one === null; })) return null;
    return {
      difference: mean(found.map(function (one) { return one.difference; })),
      half: mean(found.map(function (one) { return one.half; }))
    };
  }
  function bySettings(board, first, second, length, settings) {
    const a = values(board, first, length, settings), b = values(board, second, length, settings);
    if (!complete(a) || !complete(b)) return null;
    const apart = a.map(function (value, i) { return value - b[i]; });
    const row = board.critical[knownModels(board, length, settings)];
    const half = settings.length >= FEWEST && row
      ? row[settings.length - FEWEST] * spread(apart) / Math.sqrt(settings.length) : null;
    return {difference: mean(apart), half: half};
  }
  function compared(board, first, second, settings) {
    const found = board.byQueries ? byQueries(board, first, second, settings)
      : bySettings(board, first, second, 0, settings);
    if (!found) return null;
    const swap = found.difference < 0;
    return {
      first: board.models[swap ? second : first], second: board.models[swap ? first : second],
      difference: Math.abs(found.difference), half: found.half,
      told: found.half !== null && Math.abs(found.difference) > found.half
    };
  }
  function pairsOf(models) {
    return models.flatMap(function (a, i) { return models.slice(i + 1).map(function (b) { return [a, b]; }); });
  }

  // What is shown.
  function words(pair) {
    const range = pair.half === null ? "" : " " + between(pair.difference - pair.half, pair.difference + pair.half);
    if (pair.told) return pair.first + " is better than " + pair.second + " by " + figure(pair.difference) + range + ": a real difference.";
    if (pair.half === null) return pair.first + " and " + pair.second + " differ by " + figure(pair.difference) +
      "; over fewer than three settings nothing can be told of it.";
    return pair.first + " and " + pair.second + " cannot be told apart: " + figure(pair.difference) + range + ".";
  }
  function show() {
    const board = window.posbenchBoards[state.board], settings = state.settings;
    at("compared").hidden = state.models.length < 2 || !settings.length;
    at("settings-summary").textContent = "Settings: " + settings.length + " of " + board.settings.length;
    if (at("compared").hidden) return;
    const found = pairsOf(state.models).map(function (pair) { return compared(board, pair[0], pair[1], settings); });
    const pairs = found.filter(Boolean);
    const list = element("ul");
    pairs.forEach(function (pair) { list.append(element("li", words(pair))); });
    if (pairs.length < found.length) list.append(element("li", "Models that lack one of the chosen settings are not compared."));
    at("verdict").replaceChildren(list);
    chart(board, pairs);
    const rows = pairs.map(function (pair) {
      return [pair.first, pair.second, figure(pair.difference), pair.half === null ? "\u2013"
        : between(pair.difference - pair.half, pair.difference + pair.half), pair.told ? "real" : "cannot be told"];
    });
    const rule = board.byQueries ? "simultaneous 95% intervals over queries" : "paired t intervals over settings, corrected for all pairs";
    at("pairs").replaceChildren(table(board.measure + ", " + number(settings.length, "setting") + "; " + rule,
      ["better", "other", "difference", "interval", "real?"], rows));
    lengths(board, settings);
    bySetting(board, settings);
  }
  function number(count, what) { return count + " " + what + (count === 1 ? "" : "s"); }
  function chart(board, pairs) {
    const spec = JSON.parse(JSON.stringify(data.chart));
    spec.data.values = pairs.map(function (pair) {
      const row = {pair: pair.first + " \u2212 " + pair.second, difference: pair.difference, told: pair.told};
      return pair.half === null ? row : Object.assign(row, {low: pair.difference - pair.half, high: pair.difference + pair.half});
    });
    if (pairs.every(function (pair) { return pair.half === null; })) {
      spec.layer = spec.layer.filter(function (layer) { return !layer.transform; }); // no interval to draw
    }
    at("chart-caption").textContent = "Differences in " + board.measure + ", the better model first; filled: the interval leaves out 0";
    window.posbenchDraw(at("chart"), spec);
  }
  function lengths(board, settings) {
    const pairs = pairsOf(state.models);
    const heads = ["length"].concat(state.models.map(function (m) { return board.models[m]; }), pairs.map(function (pair) {
      return board.models[pair[0]] + " \u2212 " + board.models[pair[1]];
    }));
    const rows = board.lengths.map(function (name, k) {
      const cells = state.models.map(function (m) {
        const row = values(board, m, k, settings);
        return complete(row) ? figure(mean(row)) : "\u2013";
      });
      return [name === "all" ? "all lengths" : name].concat(cells, pairs.map(function (pair) {
        return difference(k || !board.byQueries ? bySettings(board, pair[0], pair[1], k, settings)
          : byQueries(board, pair[0], pair[1], settings));
      }));
    });
    at("about-lengths").textContent = settings.length < FEWEST
      ? "Differences of single lengths have no interval over fewer than three settings."
      : "Intervals of single lengths are paired t over settings, corrected for all pairs; * marks those that leave out 0.";
    at("lengths").replaceChildren(table("Means of " + board.measure + " by length", heads, rows));
  }
  function difference(found) {
    if (!found) return "\u2013";
    if (found.half === null) return figure(found.difference);
    const told = Math.abs(found.difference) > found.half;
    return figure(found.difference) + " " + between(found.difference - found.half, found.difference + found.half) + (told ? " *" : "");
  }
  function bySetting(board, settings) {
    const pairs = pairsOf(state.models);
    const heads = ["setting"].concat(state.models.map(function (m) { return board.models[m]; }), pairs.map(function (pair) {
      return board.models[pair[0]] + " \u2212 " + board.models[pair[1]];
    }));
    const rows = settings.map(function (s) {
      const cells = state.models.map(function (m) {
        const value = board.values[m][0][s];
        return value === null ? "\u2013" : figure(value);
      });
      return [board.settings[s]].concat(cells, pairs.map(function (pair) {
        return difference(board.byQueries ? inSetting(board, pair[0], pair[1], s) : bySettings(board, pair[0], pair[1], 0, [s]));
      }));
    });
    at("about-settings").textContent = board.byQueries
      ? "Simultaneous 95% intervals of all pairs in a setting; * marks those that leave out 0."
      : "Per-query values are not at hand, so single settings have no intervals.";
    at("by-setting").replaceChildren(table(board.measure + " by setting", heads, rows));
  }

  // The choice.
  function address() {
    const query = new URLSearchParams();
    const board = window.posbenchBoards[state.board];
    query.set("board", state.board);
    state.models.forEach(function (m) { query.append("model", board.models[m]); });
    if (state.settings.length < board.settings.length) {
      state.settings.forEach(function (s) { query.append("setting", board.settings[s]); });
    }
    history.replaceState(null, "", "?" + query.toString() + location.hash);
  }
  function changed() {
    const chosen = Array.from(at("models").querySelectorAll("select"), function (one) { return one.value; });
    state.models = Array.from(new Set(chosen.filter(Boolean))).map(Number);
    state.settings = Array.from(at("settings").querySelectorAll("input:checked"), function (one) { return Number(one.value); });
    address();
    show();
  }
  function best(board) {
    const means = board.models.map(function (_, m) {
      const row = values(board, m, 0, board.settings.map(function (_, s) { return s; }));
      return complete(row) ? mean(row) : -Infinity;
    });
    return board.models.map(function (_, m) { return m; }).sort(function (a, b) { return means[b] - means[a]; });
  }
  function build(board, wanted) {
    const order = best(board);
    const named = wanted.models.map(function (name) { return board.models.indexOf(name); }).filter(function (m) { return m >= 0; });
    state.models = (named.length > 1 ? Array.from(new Set(named)) : order).slice(0, named.length > 1 ? data.most : Math.min(3, order.length));
    const some = wanted.settings.map(function (name) { return board.settings.indexOf(name); }).filter(function (s) { return s >= 0; });
    state.settings = some.length ? some.sort(function (a, b) { return a - b; }) : board.settings.map(function (_, s) { return s; });
    const selects = Array.from({length: Math.min(data.most, board.models.length)}, function (_, i) {
      const label = element("label", "Model " + (i + 1) + " "), select = element("select");
      select.append(element("option", i < 2 ? "choose" : "none", {value: ""}));
      order.forEach(function (m) { select.append(element("option", board.models[m], {value: m})); });
      select.value = state.models[i] === undefined ? "" : String(state.models[i]);
      label.append(select);
      return label;
    });
    at("models").replaceChildren.apply(at("models"), selects);
    at("settings").replaceChildren.apply(at("settings"), board.settings.map(function (name, s) {
      const label = element("label"), box = element("input", null, {type: "checkbox", value: s});
      box.checked = state.settings.includes(s);
      label.append(box, " " + name);
      return label;
    }));
    address();
    show();
  }
  function load(slug, wanted) {
    state.board = slug;
    at("board").value = slug;
    const ready = function () { if (state.board === slug) build(window.posbenchBoards[slug], wanted); };
    if ((window.posbenchBoards || {})[slug]) { ready(); return; }
    const script = element("script", null, {src: "data/compare-" + slug + ".js"});
    script.onload = ready;
    script.onerror = function () {
      at("compared").hidden = true;
      at("models").textContent = "The figures of this board could not be read: data/compare-" + slug + ".js is missing.";
    };
    document.head.append(script);
  }
  if (!data.boards.length) return;
  data.boards.forEach(function (board) {
    at("board").append(element("option", board.name + " (" + number(board.models, "model") + ")", {value: board.slug}));
  });
  at("choice").hidden = false;
  at("board").addEventListener("change", function () { load(at("board").value, {models: [], settings: []}); });
  at("models").addEventListener("change", changed);
  at("settings").addEventListener("change", changed);
  at("choice").addEventListener("submit", function (event) { event.preventDefault(); });
  ["every-setting", "no-setting"].forEach(function (id) {
    at(id).addEventListener("click", function () {
      at("settings").querySelectorAll("input").forEach(function (box) { box.checked = id === "every-setting"; });
      changed();
    });
  });
  const query = new URLSearchParams(location.search);
  const named = data.boards.some(function (board) { return board.slug === query.get("board"); });
  load(named ? query.get("board") : data.boards[0].slug, {models: query.getAll("model"), settings: query.getAll("setting")});
})();
