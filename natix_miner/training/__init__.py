"""Training of the embedded network; needs torch, which nothing else in the package imports."""
