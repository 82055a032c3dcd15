"""One file a family of experts; each defines `FAMILY`."""
