"""The colors of all figures."""

INK, MUTED, GRID, CARD = "#1f2933", "#616e7c", "#e4e7eb", "#eef1f4"
BLUE, ORANGE, GREEN, PURPLE, TEAL = "#2266aa", "#d9651d", "#2b8a5b", "#7a4fa3", "#3a8fa8"
