//! `sigmawatch user`: makes the `[[user]]` of a configuration.

use super::out;
use crate::access::{hash_password, new_token};
use crate::config::Role;
use anyhow::{Context, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, isatty, tcgetattr, tcsetattr};
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

/// Fewer can be tried out.
const SHORTEST: usize = 8;
/// What the API takes.
const LONGEST: usize = 1024;

/// Make a user of the page and API.
///
/// Asks for a password (or reads its first line from standard input) and prints the [[user]] table to paste into
/// the configuration. With --token it makes a bearer token for a program instead, and shows it this once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sigmawatch user anna --role operator
  sigmawatch user grafana --role viewer --token --camera gate --camera yard

Nothing is written or changed: paste what is printed, and restart the daemon.")]
pub struct Args {
    /// The user's name: 1 to 64 of a-z, 0-9, "-" and "_"
    name: String,
    /// What the user may do
    #[arg(long, value_parser = super::one_of::<Role>())]
    role: Role,
    /// Make a token for a program instead of asking for a password
    #[arg(long)]
    token: bool,
    /// Limit the user to this camera; may be repeated
    #[arg(long = "camera", value_name = "NAME")]
    cameras: Vec<String>,
}

/// # Errors
/// When a name is none, or there is no password.
pub fn run(args: &Args) -> Result<ExitCode> {
    for name in [&args.name].into_iter().chain(&args.cameras) {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            bail!("{name:?} is not a name (use 1 to 64 of a-z, 0-9, \"-\" and \"_\")");
        }
    }
    let (secret, remark) = match args.token {
        true => {
            let token = new_token();
            let remark = format!(
                "# The token, shown this once and kept nowhere: {}\n# Use: curl -H \"Authorization: Bearer TOKEN\" ...\n",
                token.text
            );
            (format!("token_hash = \"{}\"", token.hash), remark)
        }
        false => (format!("password_hash = \"{}\"", hash_password(&password()?)), String::new()),
    };
    let mut table = format!("{remark}[[user]]\nname = \"{}\"\nrole = \"{}\"\n{secret}", args.name, args.role);
    if !args.cameras.is_empty() {
        table += &format!("\ncameras = {:?}", args.cameras);
    }
    out(table)?;
    Ok(ExitCode::SUCCESS)
}

/// The first line of standard input; at a terminal it is asked for twice, and not shown.
fn password() -> Result<String> {
    let stdin = io::stdin();
    let password = match isatty(&stdin) {
        false => line()?,
        true => {
            let first = unseen("Password: ")?;
            if unseen("Once more: ")? != first {
                bail!("the two passwords differ (try again)");
            }
            first
        }
    };
    match password.len() {
        0 => bail!("there is no password (write it to standard input, or run this at a terminal)"),
        1..SHORTEST => {
            bail!("the password is short (use {SHORTEST} characters at least, better several words)")
        }
        LONGEST.. => bail!("the password is longer than {LONGEST} bytes (use a shorter one)"),
        _ => Ok(password),
    }
}

/// Asks at the terminal without showing what is typed.
fn unseen(question: &str) -> Result<String> {
    let stdin = io::stdin();
    let before = tcgetattr(&stdin).context("cannot ask at this terminal")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &silent).context("cannot hide what is typed")?;
    // Standard output holds the table alone.
    let asked = write!(io::stderr(), "{question}").and_then(|()| io::stderr().flush());
    let answer = line();
    tcsetattr(&stdin, OptionalActions::Flush, &before).context("cannot show again what is typed")?;
    writeln!(io::stderr())?;
    asked?;
    answer
}

fn line() -> Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("cannot read the password")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
