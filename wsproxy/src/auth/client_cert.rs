//! `ClientCertCNAuth`: clients whose certificate is for certain common names. TLS has verified the certificate.

use super::{Credentials, Judgement, Plugin};
use crate::handler::Denial;

/// Common names.
#[derive(Debug)]
pub(super) struct CommonNames(Vec<String>);

impl CommonNames {
    /// They stand with spaces between them.
    pub(super) fn new(source: &str) -> Result<Self, &'static str> {
        let names: Vec<String> = source.split_whitespace().map(str::to_owned).collect();
        if names.is_empty() { Err("common names are wanted, with spaces between them") } else { Ok(CommonNames(names)) }
    }
}

impl Plugin for CommonNames {
    fn judge<'a>(&'a self, credentials: &'a Credentials<'a>) -> Judgement<'a> {
        let certificate = credentials.tls.and_then(|tls| tls.client.as_ref());
        let name = certificate.and_then(|certificate| certificate.common_name.as_ref());
        let good = name.is_some_and(|name| self.0.contains(name));
        let judged = if good {
            Ok(())
        } else {
            Err(Denial::new("403 Forbidden", "The certificate is not for one who may come in"))
        };
        Box::pin(std::future::ready(judged))
    }
}
