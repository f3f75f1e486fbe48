//! Layers unpacked on the data disk, and the overlay that a container writes to.
