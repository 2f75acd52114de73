//! Who may use the daemon, and the certificate by which they know it.

use crate::base::{CameraName, Timestamp, choices};
use std::path::PathBuf;

choices! {
    /// What a user may do; each may what those before it may. `access::TABLE` says which route needs which.
    #[derive(PartialOrd, Ord)]
    pub enum Role {
        /// Looks.
        Viewer = "viewer",
        /// Judges alerts, and has cameras learn, watch or rest.
        Operator = "operator",
        /// Sees the configuration, too.
        Admin = "admin",
    }
}

/// A `[[user]]`.
#[derive(Clone, PartialEq)]
pub struct User {
    /// Unique, `[a-z0-9_-]{1,64}`.
    pub name: String,
    pub role: Role,
    /// The only cameras that exist for this user; `None`: all.
    pub cameras: Option<Vec<CameraName>>,
    /// Argon2id as a PHC string; `None`: no login by password.
    pub password_hash: Option<String>,
    /// `sha256:` and the digest of a bearer token.
    pub token_hash: Option<String>,
    /// When the token ends.
    pub expires: Option<Timestamp>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A hash is not the password, but the way to try millions of them.
        f.debug_struct("User")
            .field("name", &self.name)
            .field("role", &self.role)
            .field("cameras", &self.cameras)
            .field("password_hash", &self.password_hash.as_ref().map(|_| "***"))
            .field("token_hash", &self.token_hash.as_ref().map(|_| "***"))
            .field("expires", &self.expires)
            .finish()
    }
}

/// Certificate chain and private key, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}
