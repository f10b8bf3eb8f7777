"""Everything that is shown: tables in the terminal, plots, pages, cards."""
