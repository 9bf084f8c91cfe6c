//! Files of names and password hashes, as Apache's htpasswd(1) writes them: bcrypt (`-B`), SHA-512 and SHA-256 of crypt(5)
//! (`-5`, `-2`). The hashes that are quick to try (MD5, SHA-1, DES) and plain words are not taken.
//!
//! A hash is made to be slow, which is done beside the connections, in turns. What was good is remembered as a keyed digest, so
//! that a page with its fifty files costs one hash.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use subtle::ConstantTimeEq as _;

use super::basic::{demand, shown};
use super::turns::Turns;
use super::{Credentials, Judgement, Plugin};
use crate::file;
use crate::handler::Denial;
use crate::setting::{Anchored, BadSetting};

/// Users, and who of them has been let in before.
pub(super) struct File {
    users: HashMap<String, Arc<str>>,
    /// Hashed in vain for who is not there, so that the time tells nothing of who is.
    anyone: Arc<str>,
    key: hmac::Key,
    /// What each user has shown that was good.
    known: Mutex<HashMap<String, hmac::Tag>>,
    turns: Turns,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

impl File {
    pub(super) fn open(source: &Anchored, patience: Duration) -> Result<Self, BadSetting> {
        let path = source.path()?;
        let text = file::open(&path).and_then(io::read_to_string).map_err(|error| source.bad(error))?;
        Self::read(&text, patience).map_err(|why| source.bad(why))
    }

    fn read(text: &str, patience: Duration) -> Result<Self, String> {
        let mut users = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| format!("line {}: {why}", number + 1);
            let (user, hash) = line.split_once(':').ok_or_else(|| wrong("NAME:HASH is wanted"))?;
            if !is_strong(hash) {
                return Err(wrong(&format!(
                    "the password of {user} is not hashed with bcrypt, SHA-512 or SHA-256 (htpasswd -B)"
                )));
            }
            users.insert(user.to_owned(), hash.into());
        }
        let anyone = users.values().next().map(Arc::clone).ok_or("there is nobody in it")?;
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let key = key.map_err(|_| "there are no random numbers".to_owned())?;
        let turns = Turns::new(thread::available_parallelism().map_or(1, usize::from), patience);
        Ok(File { users, anyone, key, known: Mutex::default(), turns })
    }

    async fn check(&self, credentials: &Credentials<'_>) -> Result<(), Denial> {
        let shown = shown(credentials).and_then(|shown| String::from_utf8(shown).ok()).ok_or_else(demand)?;
        let (user, password) = shown.split_once(':').ok_or_else(demand)?;
        let tag = hmac::sign(&self.key, shown.as_bytes());
        if self.is_known(user, tag) {
            return Ok(());
        }
        let turn = self.turns.take(credentials.client).await?;
        // What the same client has shown in front of it may have been good.
        if self.is_known(user, tag) {
            return Ok(());
        }
        let hash = self.users.get(user);
        let (tried, word) = (Arc::clone(hash.unwrap_or(&self.anyone)), password.to_owned());
        let fits = tokio::task::spawn_blocking(move || {
            // A client that does not wait for the answer takes nobody else's turn: the work is done all the same.
            let _turn = turn;
            fits(&tried, &word)
        });
        let fits = fits.await.unwrap_or_default();
        if !fits || hash.is_none() {
            return Err(demand());
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(user.to_owned(), tag);
        Ok(())
    }

    fn is_known(&self, user: &str, tag: hmac::Tag) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(user).is_some_and(|known| bool::from(known.as_ref().ct_eq(tag.as_ref())))
    }
}

impl Plugin for File {
    fn judge<'a>(&'a self, credentials: &'a Credentials<'a>) -> Judgement<'a> {
        Box::pin(self.check(credentials))
    }
}

/// Whether a hash is of a kind that is slow to try, and whole.
fn is_strong(hash: &str) -> bool {
    if hash.starts_with("$5$") || hash.starts_with("$6$") {
        return hash.split('$').count() >= 4;
    }
    hash.parse::<bcrypt::HashParts>().is_ok()
}

/// Whether a password has this hash. Slow.
fn fits(hash: &str, password: &str) -> bool {
    if hash.starts_with("$5$") {
        sha_crypt::sha256_check(password, hash).is_ok()
    } else if hash.starts_with("$6$") {
        sha_crypt::sha512_check(password, hash).is_ok()
    } else {
        bcrypt::verify(password, hash).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use tokio::time::timeout;

    /// Made by htpasswd: "secret" of ann, bob and cyd.
    const USERS: &str = "# users\n\
        ann:$2y$04$90x4BxjukV56aDjtVBRaN.Ab2D/1QrT/.fPIfW7avuKqRoJlihIOC\n\
        \n\
        bob:$6$rounds=1000$PUJcBjJCAiFuBGix$cH.DRxGgXly6HgwnzLbuBOvuTQY6y6nIHRGkw5BsSmJ3VvPkfsfd8NVJrz4QPWnidL3oqw8SBoH80WLfLrLqL.\n\
        cyd:$5$rounds=1000$JqYpozZp3ETLdPWg$vqPspv6Jna9E9kmfYqlszD/rTyQQI3Xl/ns0j.P2vkC\n";

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn judged(file: &File, words: &str) -> bool {
        let field = format!("Basic {}", STANDARD.encode(words));
        let credentials = Credentials { authorization: Some(&field), ..Credentials::default() };
        file.judge(&credentials).await.is_ok()
    }

    #[tokio::test]
    async fn those_in_the_file_are_let_in_again_and_again() {
        let file = File::read(USERS, PATIENCE).unwrap();
        for user in ["ann", "bob", "cyd"] {
            for _ in 0..2 {
                assert!(judged(&file, &format!("{user}:secret")).await, "{user}");
                assert!(!judged(&file, &format!("{user}:Secret")).await, "{user}");
                assert!(!judged(&file, &format!("{user}:")).await, "{user}");
            }
        }
        assert!(!judged(&file, "dan:secret").await && !judged(&file, "ann").await);
    }

    #[tokio::test]
    async fn a_turn_lasts_as_long_as_its_work_whoever_has_left() {
        let slow = "ann:$2y$12$90x4BxjukV56aDjtVBRaN.Ab2D/1QrT/.fPIfW7avuKqRoJlihIOC";
        let file = File::read(slow, PATIENCE).unwrap();
        tokio::select! {
            biased;
            _ = judged(&file, "ann:x") => panic!("it takes its time"),
            () = std::future::ready(()) => {}
        }
        let again = timeout(Duration::ZERO, file.turns.take(None));
        assert!(again.await.is_err());
        drop(file.turns.take(None).await.unwrap());
    }

    #[test]
    fn weak_hashes_and_what_is_none_are_not_taken() {
        for text in [
            "",
            "ann",
            "ann:secret",
            "ann:$apr1$x$y",
            "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
            "ann:$2y$05$short",
            "ann:$6$short",
        ] {
            assert!(File::read(text, PATIENCE).is_err(), "{text}");
        }
        assert!(File::read("# x\nann:secret", PATIENCE).unwrap_err().starts_with("line 2: the password of ann"));
    }
}
