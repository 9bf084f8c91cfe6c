//! `ExpectOrigin`: pages of certain origins (RFC 6454 section 7).

use wsproto::Origin;

use super::{Credentials, Judgement, Plugin};
use crate::handler::Denial;

/// Origins.
#[derive(Debug)]
pub(super) struct Origins(Vec<Origin>);

impl Origins {
    /// They stand with spaces between them.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        let parsed = source.split_whitespace().map(|text| text.parse().map_err(|error| format!("{text:?}: {error}")));
        let origins: Vec<Origin> = parsed.collect::<Result<_, _>>()?;
        if origins.is_empty() {
            Err("origins are wanted, as https://example.org, with spaces between them".to_owned())
        } else {
            Ok(Origins(origins))
        }
    }
}

impl Plugin for Origins {
    fn judge<'a>(&'a self, credentials: &'a Credentials<'a>) -> Judgement<'a> {
        let is_known = |origin| self.0.iter().any(|known| known.matches(origin));
        let good = credentials.origin.is_some_and(is_known);
        let judged = if good { Ok(()) } else { Err(Denial::new("403 Forbidden", "Origin is not allowed")) };
        Box::pin(std::future::ready(judged))
    }
}
