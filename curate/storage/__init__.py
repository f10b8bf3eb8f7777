"""Local folders and object stores behind one interface; options, usage, the lease."""
