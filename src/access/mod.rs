//! Who may do what: users, their passwords, tokens and sessions, and the one table of rights.

mod backoff;
mod policy;
mod secret;
mod sessions;
mod users;

pub use policy::{Need, Refusal, Rule, Scope, TABLE, allows, rule};
pub use secret::{Token, hash_password, new_token, token_hash};
pub use sessions::LIFETIME as SESSION_LIFETIME;
pub use users::{Access, Caller, Credential, LoginRefused};
