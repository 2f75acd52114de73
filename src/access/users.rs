//! The users of the configuration, and everything by which one of them is recognised.

use super::backoff::Backoff;
use super::secret::{digest, hash_bytes, hash_password, is_password};
use super::sessions::Sessions;
use crate::base::{CameraName, Clock, Timestamp};
use crate::config::{Role, User};
use argon2::password_hash::phc::PasswordHash;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

/// Failed logins of one name before it must wait.
const FREE_OF_NAME: u32 = 5;
/// Failed logins from one address before it must wait: more, since a proxy or an office is one address.
const FREE_OF_ADDRESS: u32 = 20;
/// Passwords that are compared at once, each with 19 MiB.
const AT_ONCE: u32 = 2;

/// Who asks, as far as the daemon cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `None` where nobody needs to log in.
    pub name: Option<Arc<str>>,
    pub role: Role,
    /// The cameras that exist for this caller; `None`: all.
    pub cameras: Option<Arc<[CameraName]>>,
}

impl Caller {
    /// Whoever asks where nobody needs to log in.
    pub fn anyone() -> Self {
        Self { name: None, role: Role::Admin, cameras: None }
    }

    pub fn sees(&self, camera: &str) -> bool {
        self.cameras.as_ref().is_none_or(|cameras| cameras.iter().any(|own| **own == *camera))
    }
}

/// What a request shows to be recognised by; holds only the hash of it.
#[derive(Clone)]
pub struct Credential(Kind);

#[derive(Clone)]
enum Kind {
    Token([u8; 32]),
    Session([u8; 32]),
}

impl Credential {
    /// A bearer token.
    pub fn token(text: &str) -> Self {
        Self(Kind::Token(digest(text)))
    }

    /// What the cookie holds.
    pub fn session(text: &str) -> Self {
        Self(Kind::Session(digest(text)))
    }
}

/// Why a login is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefused {
    /// Not said which: that would tell what names there are.
    #[error("no user of this name has this password")]
    Wrong,
    #[error("too many logins have failed: wait {} s", .0.as_secs_f64().ceil())]
    Wait(Duration),
    #[error("too many logins are being looked at: try again in a moment")]
    Busy,
    #[error("nobody needs to log in here: the configuration has no [[user]]")]
    NoUsers,
}

struct Known {
    caller: Caller,
    password: Option<PasswordHash>,
    /// When the token ends, on the wall clock.
    expires: Option<Timestamp>,
}

struct State {
    sessions: Sessions,
    names: Backoff<[u8; 32]>,
    addresses: Backoff<IpAddr>,
    comparing: u32,
}

/// Recognises callers. Every time is the injected clock's.
pub struct Access {
    clock: Arc<dyn Clock>,
    directory: RwLock<Arc<Directory>>,
    state: Mutex<State>,
}

/// Who there is. A user who is changed in anything by which one logs in gets another number, and with it sessions of the
/// one before end.
#[derive(Default)]
struct Directory {
    users: HashMap<usize, Known>,
    /// Numbers given so far.
    given: usize,
    by_name: HashMap<String, usize>,
    by_token: HashMap<[u8; 32], usize>,
    /// What an unknown name's password is compared with, so that it takes as long as a known one's.
    nobody: Option<PasswordHash>,
}

impl Directory {
    /// The users of a checked configuration, after those that there were.
    fn after(before: &Self, users: &[User]) -> Self {
        let parse = |hash: &str| PasswordHash::new(hash).expect("the configuration is checked");
        let mut directory = Self { given: before.given, ..Self::default() };
        for user in users {
            let password = user.password_hash.as_deref().map(parse);
            let same = before.by_name.get(&user.name).filter(|at| before.users[*at].password == password);
            let at = same.copied().unwrap_or_else(|| {
                directory.given += 1;
                directory.given
            });
            let caller = Caller {
                name: Some(user.name.as_str().into()),
                role: user.role,
                cameras: user.cameras.as_ref().map(|cameras| cameras.as_slice().into()),
            };
            directory.users.insert(at, Known { caller, password, expires: user.expires });
            directory.by_name.insert(user.name.clone(), at);
            if let Some(hash) = &user.token_hash {
                directory.by_token.insert(hash_bytes(hash).expect("the configuration is checked"), at);
            }
        }
        if !users.is_empty() {
            let nobody = before.nobody.clone();
            directory.nobody = Some(nobody.unwrap_or_else(|| parse(&hash_password("nobody's"))));
        }
        directory
    }
}

impl Access {
    /// For the users of a checked configuration; without any, everybody may do everything.
    pub fn new(users: &[User], clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            directory: RwLock::new(Arc::new(Directory::after(&Directory::default(), users))),
            state: Mutex::new(State {
                sessions: Sessions::default(),
                names: Backoff::new(FREE_OF_NAME),
                addresses: Backoff::new(FREE_OF_ADDRESS),
                comparing: 0,
            }),
        }
    }

    /// From now on these are the users. Who is logged in stays so, unless the name or the password is another.
    pub fn change(&self, users: &[User]) {
        let mut directory = self.directory.write().expect("nothing panics while it is held");
        *directory = Arc::new(Directory::after(&directory, users));
    }

    fn directory(&self) -> Arc<Directory> {
        self.directory.read().expect("nothing panics while it is held").clone()
    }

    /// Whether one must log in: there are users.
    pub fn is_needed(&self) -> bool {
        !self.directory().users.is_empty()
    }

    /// Compares a password, and begins a session; gives who it is, and what the cookie is to hold. Takes tens of
    /// milliseconds.
    ///
    /// # Errors
    /// Why not.
    pub fn login(&self, name: &str, password: &str, from: IpAddr) -> Result<(Caller, String), LoginRefused> {
        let directory = self.directory();
        let Some(nobody) = &directory.nobody else { return Err(LoginRefused::NoUsers) };
        // The hash bounds what a long name costs.
        let key = digest(name);
        let now = self.clock.monotonic();
        {
            let mut state = self.state();
            let wait = state.names.wait(&key, now).max(state.addresses.wait(&from, now));
            if !wait.is_zero() {
                return Err(LoginRefused::Wait(wait));
            }
            if state.comparing >= AT_ONCE {
                return Err(LoginRefused::Busy);
            }
            state.comparing += 1;
            state.names.failed(&key, now);
            state.addresses.failed(&from, now);
        }
        let user = directory.by_name.get(name).copied();
        let hash = user.and_then(|user| directory.users[&user].password.as_ref());
        let right = is_password(password, hash.unwrap_or(nobody)) && hash.is_some();
        let mut state = self.state();
        state.comparing -= 1;
        let Some(user) = user.filter(|_| right) else { return Err(LoginRefused::Wrong) };
        state.names.forget(&key);
        state.addresses.forgive(&from);
        let secret = state.sessions.begin(user, now);
        // Where the user has been changed meanwhile, the session is nobody's.
        Ok((directory.users[&user].caller.clone(), secret))
    }

    /// Whose token or session it is, unless that has ended.
    pub fn recognise(&self, credential: &Credential) -> Option<Caller> {
        let directory = self.directory();
        let user = match &credential.0 {
            Kind::Token(hash) => {
                let user = *directory.by_token.get(hash)?;
                directory.users[&user].expires.is_none_or(|end| self.clock.now() < end).then_some(user)?
            }
            Kind::Session(hash) => self.state().sessions.user(hash, self.clock.monotonic())?,
        };
        Some(directory.users.get(&user)?.caller.clone())
    }

    /// Ends a session, if there is one.
    pub fn logout(&self, credential: &Credential) {
        if let Kind::Session(hash) = &credential.0 {
            self.state().sessions.end(hash);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it is held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::new_token;
    use crate::base::SimClock;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn user(name: &str) -> User {
        User {
            name: name.into(),
            role: Role::Viewer,
            cameras: None,
            password_hash: None,
            token_hash: None,
            expires: None,
        }
    }

    fn access(users: &[User]) -> (Arc<SimClock>, Access) {
        let clock = Arc::new(SimClock::new(Timestamp::from_second(1000).expect("in range")));
        (clock.clone(), Access::new(users, clock))
    }

    #[test]
    fn a_password_opens_a_session_until_the_logout() {
        let anna = User { password_hash: Some(hash_password("right")), ..user("anna") };
        let (_, access) = access(&[anna, user("tokenless")]);
        let (caller, session) = access.login("anna", "right", HERE).expect("right");
        let session = Credential::session(&session);
        assert_eq!(caller.name.as_deref(), Some("anna"));
        assert_eq!(access.recognise(&session), Some(caller));
        access.logout(&session);
        assert_eq!(access.recognise(&session), None);
        for (name, password) in
            [("anna", "wrong"), ("otto", "right"), ("tokenless", ""), ("otto", "nobody's")]
        {
            assert_eq!(access.login(name, password, HERE), Err(LoginRefused::Wrong), "{name}");
        }
    }

    #[test]
    fn failures_of_a_name_make_it_wait_and_a_success_makes_good() {
        let anna = User { password_hash: Some(hash_password("right")), ..user("anna") };
        let (clock, access) = access(&[anna]);
        for name in ["anna", "otto"] {
            for _ in 0..5 {
                assert_eq!(access.login(name, "wrong", HERE), Err(LoginRefused::Wrong));
            }
            let waits = LoginRefused::Wait(Duration::from_secs(1));
            assert_eq!(access.login(name, "right", HERE), Err(waits), "even with the right one");
        }
        clock.advance(Duration::from_secs(1));
        assert!(access.login("anna", "right", HERE).is_ok());
        assert_eq!(access.login("anna", "wrong", HERE), Err(LoginRefused::Wrong), "counted anew");
    }

    #[test]
    fn an_address_that_tries_many_names_waits_too() {
        let (_, access) = access(&[user("anna")]);
        for n in 0..20 {
            assert_eq!(access.login(&format!("name-{n}"), "x", HERE), Err(LoginRefused::Wrong));
        }
        assert!(matches!(access.login("another", "x", HERE), Err(LoginRefused::Wait(_))));
        let elsewhere = "192.0.2.1".parse().expect("an address");
        assert_eq!(access.login("another", "x", elsewhere), Err(LoginRefused::Wrong));
    }

    #[test]
    fn a_token_is_known_until_it_expires() {
        let token = new_token();
        let end = Timestamp::from_second(1010).expect("in range");
        let robot = User { token_hash: Some(token.hash.clone()), expires: Some(end), ..user("robot") };
        let (clock, access) = access(&[user("anna"), robot]);
        assert_eq!(
            access.recognise(&Credential::token(&token.text)).expect("known").name.as_deref(),
            Some("robot")
        );
        assert_eq!(access.recognise(&Credential::token(&token.hash)), None, "the hash is no token");
        clock.advance(Duration::from_secs(10));
        assert_eq!(access.recognise(&Credential::token(&token.text)), None);
    }

    #[test]
    fn users_change_and_only_who_is_the_same_stays_logged_in() {
        let with =
            |name: &str, password: &str| User { password_hash: Some(hash_password(password)), ..user(name) };
        let (anna, otto) = (with("anna", "right"), with("otto", "right"));
        let (_, access) = access(&[anna.clone(), otto]);
        let log_in = |name| Credential::session(&access.login(name, "right", HERE).expect("right").1);
        let sessions = [log_in("anna"), log_in("otto")];
        access.change(&[with("otto", "another"), User { role: Role::Admin, ..anna.clone() }]);
        let known = |at: usize| access.recognise(&sessions[at]).map(|caller| (caller.name, caller.role));
        assert_eq!(known(0), Some((Some("anna".into()), Role::Admin)), "what she may do is another");
        assert_eq!(known(1), None, "whoever knew the old password");
        access.change(&[]);
        assert!(!access.is_needed() && known(0).is_none());
        access.change(&[with("otto", "right"), anna]);
        assert_eq!((known(0), known(1)), (None, None), "who comes again logs in again");
    }
}
