//! Passwords and tokens: how they are made, kept and compared.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Argon2id with 19 MiB, 2 passes and 1 lane: the first choice of OWASP's Password Storage Cheat Sheet.
fn argon2id() -> Argon2<'static> {
    let params = Params::new(19 * 1024, 2, 1, None).expect("parameters that RFC 9106 allows");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH` of a password.
pub fn hash_password(password: &str) -> String {
    let hash: PasswordHash = argon2id()
        .hash_password_with_salt(password.as_bytes(), &random::<16>())
        .expect("what fits into a request can be hashed");
    hash.to_string()
}

/// Whether this is the password. Takes tens of milliseconds and 19 MiB whatever the answer is.
pub(super) fn is_password(password: &str, hash: &PasswordHash) -> bool {
    argon2id().verify_password(password.as_bytes(), hash).is_ok()
}

/// A bearer token, to be shown once, and what is kept of it.
pub struct Token {
    /// `sgw_` and 256 random bits in base64url.
    pub text: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub hash: String,
}

/// Makes a token.
pub fn new_token() -> Token {
    let text = format!("sgw_{}", URL_SAFE_NO_PAD.encode(random::<32>()));
    let hash = token_hash(&text);
    Token { text, hash }
}

/// What is kept of a token. A fast hash will do: 256 random bits cannot be guessed.
pub fn token_hash(token: &str) -> String {
    let digits: String = digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// The digest that [`token_hash`] wrote.
pub(super) fn hash_bytes(hash: &str) -> Option<[u8; 32]> {
    let digits = hash.strip_prefix("sha256:")?.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// SHA-256. Tokens and sessions are looked up by it, so that how long a comparison takes tells nothing of them.
pub(super) fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Bytes from the operating system.
pub(super) fn random<const N: usize>() -> [u8; N] {
    use rand::TryRng;
    let mut bytes = [0; N];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).expect("the kernel gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_which_differs_every_time() {
        let hashes = [hash_password("correct horse"), hash_password("correct horse")];
        assert_ne!(hashes[0], hashes[1], "salted");
        for hash in hashes {
            assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
            let hash = PasswordHash::new(&hash).expect("a PHC string");
            assert!(is_password("correct horse", &hash));
            assert!(!is_password("correct hors", &hash));
        }
    }

    #[test]
    fn a_token_is_long_and_known_by_its_hash() {
        let (one, other) = (new_token(), new_token());
        assert_ne!(one.text, other.text);
        assert_eq!(one.text.len(), 4 + 43);
        assert_eq!(token_hash(&one.text), one.hash);
        assert_eq!(hash_bytes(&one.hash), Some(digest(&one.text)));
        assert_eq!(
            token_hash("abc"),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "FIPS 180-2, appendix B.1"
        );
    }
}
