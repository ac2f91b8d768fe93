"""`lite` for filterkit: a student that needs no GPU, no torch and no download; and the embedder `static`."""
