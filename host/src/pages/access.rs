//! Who may see a page: whoever can read a token in a folder that only its owner can read. Shown once to a browser, it becomes a
//! session in a cookie; a monitoring system shows it with every request.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;

use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq;

use crate::files::with_mode;
use crate::locks::lock;
use crate::random::random_secret;

/// The most browsers that are logged in at once; the oldest is logged out.
const SESSIONS: usize = 32;

/// Random text of 256 bits. No `Debug`: it is a secret.
struct Token(String);

impl Token {
    fn random() -> io::Result<Self> {
        let secret = random_secret().map_err(io::Error::other)?;
        Ok(Self(HEXLOWER.encode(&*secret)))
    }

    /// The one in a file, which is made for its owner alone if it is not there.
    fn of(path: &Path) -> io::Result<Self> {
        match with_mode(0o600).write(true).create_new(true).open(path) {
            Ok(mut file) => {
                let token = Self::random()?;
                file.write_all(token.0.as_bytes())?;
                file.sync_all()?;
                Ok(token)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let text = fs::read_to_string(path)?;
                let text = text.trim();
                if text.len() < 32 {
                    let why = format!("{} holds no token; delete it, and another is made", path.display());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                Ok(Self(text.into()))
            }
            Err(error) => Err(error),
        }
    }

    fn is(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

/// The tokens of a page, and who has shown them.
pub struct Access {
    people: Token,
    machines: Token,
    sessions: Mutex<VecDeque<Token>>,
}

impl Access {
    /// With the tokens in a folder, `page.token` for people and `metrics.token` for monitoring systems.
    ///
    /// # Errors
    ///
    /// If they cannot be read or made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let (people, machines) = (Token::of(&folder.join("page.token"))?, Token::of(&folder.join("metrics.token"))?);
        Ok(Self { people, machines, sessions: Mutex::default() })
    }

    /// What a browser opens to see the page.
    pub fn url(&self, address: SocketAddr) -> String {
        format!("http://{address}/login?token={}", self.people.0)
    }

    /// The value of a new session's cookie, for whoever shows the right token.
    pub(crate) fn log_in(&self, token: &str) -> Option<String> {
        if !self.people.is(token) {
            return None;
        }
        let session = Token::random().ok()?;
        let value = session.0.clone();
        let mut sessions = lock(&self.sessions);
        sessions.push_back(session);
        while sessions.len() > SESSIONS {
            sessions.pop_front();
        }
        Some(value)
    }

    pub(crate) fn is_session(&self, value: &str) -> bool {
        lock(&self.sessions).iter().any(|session| session.is(value))
    }

    pub(crate) fn is_machine(&self, token: &str) -> bool {
        self.machines.is(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_owners_and_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path()).unwrap();
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        assert_eq!(access.url(address), Access::open(folder.path()).unwrap().url(address));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(folder.path().join("page.token")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let token = std::fs::read_to_string(folder.path().join("page.token")).unwrap();
        let machines = std::fs::read_to_string(folder.path().join("metrics.token")).unwrap();
        assert!(access.log_in(&machines).is_none() && access.log_in("").is_none());
        assert!(!access.is_machine(&token) && access.is_machine(&machines));
        let first = access.log_in(&token).unwrap();
        assert!(access.is_session(&first) && !access.is_session(&token) && !access.is_session(""));
        (0..SESSIONS).for_each(|_| drop(access.log_in(&token).unwrap()));
        assert!(!access.is_session(&first), "the oldest is logged out");
        std::fs::write(folder.path().join("page.token"), "x").unwrap();
        assert!(Access::open(folder.path()).map(drop).unwrap_err().to_string().contains("no token"));
    }
}
