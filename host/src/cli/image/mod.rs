//! Commands about images, one a file.
