//! Events, the score timeline and pictures on disk.
