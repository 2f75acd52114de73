//! Stopping: the first signal asks for a clean stop, the second ends the process at once.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set once the daemon is to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The flag itself, for rooms that do not know the daemon.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }

    /// SIGTERM and SIGINT request the stop; a further one exits with 128 + its number.
    pub fn on_signals(&self) -> std::io::Result<()> {
        for signal in [SIGTERM, SIGINT] {
            // Handlers run in the order of registration: this one sees the flag as the last signal left it.
            flag::register_conditional_shutdown(signal, 128 + signal, self.flag())?;
            flag::register(signal, self.flag())?;
        }
        Ok(())
    }
}
