//! `ExpectOrigin`: pages of certain origins (RFC 6454 section 7).

use super::{Credentials, Judgement, Plugin};
use crate::handler::Denial;

/// Origins, compared without regard to ASCII case.
#[derive(Debug)]
pub(super) struct Origins(Vec<String>);

impl Origins {
    /// They stand with spaces between them.
    pub(super) fn new(source: &str) -> Result<Self, &'static str> {
        let origins: Vec<String> = source.split_whitespace().map(str::to_owned).collect();
        if origins.is_empty() {
            Err("origins are wanted, as https://example.org, with spaces between them")
        } else {
            Ok(Origins(origins))
        }
    }
}

impl Plugin for Origins {
    fn judge<'a>(&'a self, credentials: &'a Credentials<'a>) -> Judgement<'a> {
        let known = |origin| self.0.iter().any(|known| known.eq_ignore_ascii_case(origin));
        let good = credentials.origin.is_some_and(known);
        let judged = if good { Ok(()) } else { Err(Denial::new("403 Forbidden", "Origin is not allowed")) };
        Box::pin(std::future::ready(judged))
    }
}
