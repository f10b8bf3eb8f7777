"""How often a document is seen: token masses, upsampling rates, copies."""
