"""Which documents belong together: embedders, cells and regions, neighbours, paths, measures."""
