//! What the daemon tells its operators' machines: every metric, and the log.
