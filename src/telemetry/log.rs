//! The log: one line an event on standard error, as text for people or JSON for machines.

use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// Environment variable that overrides the configured filter, in `tracing`'s directive syntax.
pub const LOG_VARIABLE: &str = "SIGMAWATCH_LOG";

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "{place}: `{filter}` is not a log filter: {cause} \
         (use a level such as `info`, or `info,sigmawatch=debug`)"
    )]
    Filter { place: &'static str, filter: String, cause: String },
    #[error("the log is already set up (set it up once, at the start of the program)")]
    Twice,
}

/// How the log was set up, for processes that write to the same.
static SETTINGS: OnceLock<(LogFormat, String)> = OnceLock::new();

/// Format and filter of the log, where one is set up.
pub fn log_settings() -> Option<(LogFormat, &'static str)> {
    SETTINGS.get().map(|(format, filter)| (*format, filter.as_str()))
}

/// Sends the log to standard error. [`LOG_VARIABLE`], where set, wins over `filter`.
pub fn init_log(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let variable = std::env::var(LOG_VARIABLE).ok();
    let (place, directives) = match variable.as_deref() {
        Some(v) if !v.is_empty() => (LOG_VARIABLE, v),
        _ => ("log filter", filter),
    };
    let filter = parse(place, directives)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    SETTINGS.get_or_init(|| (format, directives.to_owned()));
    match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|_| LogError::Twice)
}

fn parse(place: &'static str, directives: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(directives).map_err(|e| LogError::Filter {
        place,
        filter: directives.into(),
        cause: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_named_with_its_place_and_remedy() {
        let message = parse(LOG_VARIABLE, "sigmawatch=loud").expect_err("no such level").to_string();
        assert!(message.starts_with("SIGMAWATCH_LOG: `sigmawatch=loud`"), "{message}");
        assert!(message.contains("sigmawatch=debug"), "{message}");
        assert!(parse(LOG_VARIABLE, "info,sigmawatch=debug").is_ok());
    }
}
