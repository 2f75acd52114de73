//! Sessions of those who logged in: in memory, hashed, bounded, and gone after a while.

use super::secret::{digest, random};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::HashMap;
use std::time::Duration;

/// A session ends this long after the login ...
pub const LIFETIME: Duration = Duration::from_secs(7 * 86_400);
/// ... or when it was not used for this long.
const IDLE: Duration = Duration::from_secs(86_400);
/// Sessions of one user; a further login ends the one that was not used for longest.
const OF_ONE: usize = 16;

#[derive(Debug)]
struct Session {
    user: usize,
    began: Duration,
    used: Duration,
}

/// Keyed by the hash of what the cookie holds.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_hash: HashMap<[u8; 32], Session>,
}

impl Sessions {
    /// Begins a session of a user; gives what the cookie is to hold. `now` is monotonic.
    pub(super) fn begin(&mut self, user: usize, now: Duration) -> String {
        self.by_hash.retain(|_, session| session.lives(now));
        let own = self.by_hash.iter().filter(|(_, session)| session.user == user);
        if own.clone().count() >= OF_ONE
            && let Some(oldest) = own.min_by_key(|(_, session)| session.used).map(|(hash, _)| *hash)
        {
            self.by_hash.remove(&oldest);
        }
        let secret = URL_SAFE_NO_PAD.encode(random::<32>());
        self.by_hash.insert(digest(&secret), Session { user, began: now, used: now });
        secret
    }

    /// Whose session it is.
    pub(super) fn user(&mut self, hash: &[u8; 32], now: Duration) -> Option<usize> {
        let session = self.by_hash.get_mut(hash).filter(|session| session.lives(now))?;
        session.used = now;
        Some(session.user)
    }

    pub(super) fn end(&mut self, hash: &[u8; 32]) {
        self.by_hash.remove(hash);
    }
}

impl Session {
    fn lives(&self, now: Duration) -> bool {
        now.saturating_sub(self.began) < LIFETIME && now.saturating_sub(self.used) < IDLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_session_ends_by_logout_by_disuse_and_by_age() {
        let mut sessions = Sessions::default();
        let [a, b, c] = [0, 1, 2].map(|user| digest(&sessions.begin(user, Duration::ZERO)));
        assert_eq!(sessions.user(&a, HOUR), Some(0));
        sessions.end(&a);
        assert_eq!(sessions.user(&a, HOUR), None);
        assert_eq!(sessions.user(&b, 24 * HOUR), None, "not used for a day");
        for hour in (0..24 * 7).step_by(12) {
            assert_eq!(sessions.user(&c, hour * HOUR), Some(2));
        }
        assert_eq!(sessions.user(&c, 24 * 7 * HOUR), None, "a week old");
        assert_eq!(sessions.user(&digest(""), HOUR), None);
    }

    #[test]
    fn sessions_are_bounded_and_the_least_used_goes_first() {
        let mut sessions = Sessions::default();
        let other = digest(&sessions.begin(1, Duration::ZERO));
        let all: Vec<_> = (1..=16).map(|s| digest(&sessions.begin(0, Duration::from_secs(s)))).collect();
        assert_eq!(sessions.user(&all[0], Duration::from_secs(20)), Some(0));
        sessions.begin(0, Duration::from_secs(21));
        assert_eq!(sessions.user(&all[0], Duration::from_secs(22)), Some(0));
        assert_eq!(sessions.user(&all[1], Duration::from_secs(22)), None);
        assert_eq!(sessions.user(&other, Duration::from_secs(22)), Some(1), "another's stays");
        assert_eq!(sessions.by_hash.len(), 17);
    }
}
