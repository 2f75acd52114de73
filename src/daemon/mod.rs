//! What puts the rooms together: lanes, workers, supervision, start and stop.
