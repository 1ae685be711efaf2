"""Reading of files that people bring: text, JSON, TOML, CSV, and the numbers in them."""
