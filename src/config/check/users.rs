//! The rules for users, and for where the server listens without any.

use super::super::{Camera, Http, Role, Tls, User};
use super::{Check, Section};
use crate::base::Timestamp;
use argon2::password_hash::phc::PasswordHash;
use std::net::SocketAddr;

impl Check<'_, '_> {
    /// Secure by default: beyond loopback, nobody is served who is not known.
    pub(super) fn http(&mut self, section: &Section, users: &[User]) -> Http {
        let listen: SocketAddr = section.get("listen");
        let tls = match (section.has("tls_cert"), section.has("tls_key")) {
            (true, true) => {
                Some(Tls { cert: self.path(section, "tls_cert"), key: self.path(section, "tls_key") })
            }
            (true, false) => {
                self.problem(section, "tls_cert", "given without tls_key", "name the private key, too");
                None
            }
            (false, true) => {
                self.problem(section, "tls_key", "given without tls_cert", "name the certificate, too");
                None
            }
            (false, false) => None,
        };
        if !listen.ip().is_loopback() {
            if users.is_empty() {
                let message = "whoever reaches this address could see the cameras and change their state";
                let remedy =
                    "add a [[user]] (`sigmawatch user NAME --role admin` prints one), or listen on 127.0.0.1";
                self.problem(section, "listen", message, remedy);
            } else if tls.is_none() {
                let message = "passwords and pictures cross the network as plain text";
                let remedy = "give tls_cert and tls_key, or listen on 127.0.0.1 behind a proxy that has TLS";
                self.warn(section, "listen", message, remedy);
            }
        }
        let hosts: Vec<String> = section.find("hosts").unwrap_or_default();
        if let Some(bad) = hosts.iter().find(|host| host.contains(['/', ' ', '@', '*'])) {
            let message = format!("`{bad}` is not a host");
            self.problem(
                section,
                "hosts",
                message,
                "write names and addresses alone, such as \"cameras.example.org\"",
            );
        }
        Http { listen, hosts, tls }
    }

    pub(super) fn users(&mut self, sections: &[Section], cameras: &[Camera]) -> Vec<User> {
        self.unique_names(sections, "user");
        let users: Vec<User> = sections.iter().map(|section| self.user(section, cameras)).collect();
        for (at, (section, user)) in sections.iter().zip(&users).enumerate() {
            let same = |other: &User| user.token_hash.is_some() && other.token_hash == user.token_hash;
            if let Some(other) = users[..at].iter().find(|other| same(other)) {
                let message = format!("{} has the same token", other.name);
                self.problem(section, "token_hash", message, "give every user a token of its own");
            }
        }
        users
    }

    fn user(&mut self, section: &Section, cameras: &[Camera]) -> User {
        for (key, remedy) in [
            ("name", "add name = \"...\", 1 to 64 of a-z, 0-9, \"-\" and \"_\""),
            ("role", "add role = \"viewer\", \"operator\" or \"admin\""),
        ] {
            if !section.has(key) {
                self.problem(section, key, "missing", remedy);
            }
        }
        let made_by = "`sigmawatch user NAME --role ROLE` makes one; paste all of it";
        let password_hash = self.secret_of(section, "password_hash", "password_hash_file").filter(|hash| {
            let good =
                hash.starts_with("$argon2id$") && PasswordHash::new(hash).is_ok_and(|h| h.hash.is_some());
            if !good {
                self.problem(section, "password_hash", "not an argon2id hash ($argon2id$v=19$...)", made_by);
            }
            good
        });
        let token_hash = self.secret_of(section, "token_hash", "token_hash_file").filter(|hash| {
            let digits = hash.strip_prefix("sha256:").unwrap_or_default();
            let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            let good = digits.len() == 64 && digits.bytes().all(lower_hex);
            if !good {
                let made_by = "`sigmawatch user NAME --role ROLE --token` makes one; paste all of it";
                self.problem(section, "token_hash", "not \"sha256:\" and 64 hexadecimal digits", made_by);
            }
            good
        });
        let ways = ["password_hash", "password_hash_file", "token_hash", "token_hash_file"];
        if !ways.iter().any(|key| section.has(key)) {
            self.problem(section, "password_hash", "neither a password nor a token", made_by);
        }
        let expires = section.find::<String>("expires").and_then(|text| match text.parse::<Timestamp>() {
            Ok(time) => Some(time),
            Err(_) => {
                let remedy = "write it like this: expires = \"2027-12-31T00:00:00Z\"";
                self.problem(section, "expires", "not a time of RFC 3339", remedy);
                None
            }
        });
        if section.has("expires") && !section.has("token_hash") && !section.has("token_hash_file") {
            self.warn(section, "expires", "there is no token that could expire", "remove it");
        }
        let limited: Option<Vec<String>> = section.find("cameras");
        if limited.as_ref().is_some_and(Vec::is_empty) {
            self.problem(section, "cameras", "no camera at all", "name some, or remove it for all");
        }
        for name in limited.iter().flatten() {
            if !cameras.iter().any(|camera| &*camera.name == name) {
                let message = format!("no camera is named `{name}`");
                self.problem(section, "cameras", message, "name cameras of this file");
            }
        }
        let role = section.find::<String>("role").and_then(|role| Role::named(&role));
        User {
            name: section.find("name").unwrap_or_default(),
            role: role.unwrap_or(Role::Viewer),
            cameras: limited.map(|names| names.into_iter().map(Into::into).collect()),
            password_hash,
            token_hash,
            expires,
        }
    }
}
