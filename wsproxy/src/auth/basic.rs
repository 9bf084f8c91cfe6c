//! `BasicHTTPAuth`: one user and one password, by the scheme `Basic` (RFC 7617).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Credentials, Judgement, Plugin};
use crate::handler::Denial;

/// What the client is told to show.
const CHALLENGE: &str = "Basic realm=\"wsproxy\", charset=\"UTF-8\"";

/// One user and one password.
pub(super) struct Basic {
    /// Of `USER:PASSWORD`. Digests are of one length, so that the time of a comparison tells nothing of the words.
    digest: [u8; 32],
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Basic").finish_non_exhaustive()
    }
}

impl Basic {
    pub(super) fn new(source: &str) -> Result<Self, &'static str> {
        if source.split_once(':').is_none_or(|(user, _)| user.is_empty()) {
            return Err("USER:PASSWORD is wanted");
        }
        Ok(Basic { digest: Sha256::digest(source).into() })
    }
}

impl Plugin for Basic {
    fn judge<'a>(&'a self, credentials: &'a Credentials<'a>) -> Judgement<'a> {
        let shown = shown(credentials).unwrap_or_default();
        let good = Sha256::digest(&shown).as_slice().ct_eq(&self.digest);
        Box::pin(std::future::ready(if bool::from(good) { Ok(()) } else { Err(demand()) }))
    }
}

/// The reply to who has not shown a name and password that are good.
pub(super) fn demand() -> Denial {
    Denial { challenge: Some(CHALLENGE), ..Denial::new("401 Unauthorized", "Name and password are wanted") }
}

/// The name and password, with a colon between them.
pub(super) fn shown(credentials: &Credentials<'_>) -> Option<Vec<u8>> {
    let (scheme, words) = credentials.authorization?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(words.trim()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_name_with_one_password_is_let_in() {
        let basic = Basic::new("ann:a:b").unwrap();
        for (field, good) in [
            (Some(format!("Basic {}", STANDARD.encode("ann:a:b"))), true),
            (Some(format!("bAsIc  {}", STANDARD.encode("ann:a:b"))), true),
            (Some(format!("Basic {}", STANDARD.encode("ann:a:c"))), false),
            (Some(format!("Basic {}", STANDARD.encode("ann:a:"))), false),
            (Some(format!("Bearer {}", STANDARD.encode("ann:a:b"))), false),
            (Some("Basic ann:a:b".to_owned()), false),
            (Some("Basic".to_owned()), false),
            (None, false),
        ] {
            let credentials = Credentials { authorization: field.as_deref(), ..Credentials::default() };
            let judged = basic.judge(&credentials).await;
            assert_eq!(judged.is_ok(), good, "{field:?}");
            assert!(judged.err().is_none_or(|denial| denial.challenge == Some(CHALLENGE)));
        }
        assert!(Basic::new("ann").is_err() && Basic::new(":x").is_err() && Basic::new("").is_err());
    }
}
