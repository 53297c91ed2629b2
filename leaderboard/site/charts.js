// Draws the charts of a page. Colours follow the reader's scheme by pages.css, so that nothing is drawn anew.
(function () {
  "use strict";
  function draw(place, spec) {
    return window.vegaEmbed(place, spec, {renderer: "svg", actions: false}).then(function () {
      place.querySelector("svg").setAttribute("aria-hidden", "true"); // its region is named, its numbers are in a table
    }).catch(function () {
      place.textContent = "This chart could not be drawn; its numbers stand in the table.";
    });
  }
  window.posbenchDraw = draw;
  const data = document.getElementById("data");
  const charts = (data && JSON.parse(data.textContent).charts) || {};
  const places = Array.from(document.querySelectorAll("[data-chart]"));
  // One after the other, so that the page answers in between.
  places.reduce(function (before, place) {
    return before.then(function () { return draw(place, charts[place.dataset.chart]); });
  }, Promise.resolve()).then(function () { document.documentElement.dataset.drawn = "yes"; });
})();
