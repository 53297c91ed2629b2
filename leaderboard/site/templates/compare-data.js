(window.posbenchBoards = window.posbenchBoards || {})[{{ slug | embedded }}] = {{ page.data | embedded }};
