//! Targets by token: which target a request is for is told by a word in it.
//!
//! A token names a target to a plugin, which is a file, a directory, a service or a key. No client ever names a host
//! itself. A lookup has a time limit and occupies nobody but the client who waits for it.

mod api;
mod directory;
mod file;
mod jwt;
mod kind;
mod redis;

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::uri::Authority;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use wsproto::Accepted;

use crate::dial::Destination;
use crate::handler::Denial;
use crate::setting::{Anchored, BadSetting, Source};

pub use kind::Kind;

/// How long a lookup may take, if an opening handshake may take longer.
const LOOKUP: Duration = Duration::from_secs(5);

/// Where targets are looked up, and under which name.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The plugin.
    pub kind: Kind,
    /// What it is told: a file, a directory, an address, as the plugin wants.
    pub source: Source,
    /// The token is the name of the host that the client asked for, and not a word of the path.
    pub host: bool,
    /// How long an opening handshake may take. A lookup takes half of that at most, so that there is time for an answer.
    pub handshake_timeout: Duration,
}

/// Why there is no target.
#[derive(Debug, PartialEq, Eq)]
enum Miss {
    /// There is no such token.
    Unknown,
    /// The token is not good.
    Refused(String),
    /// What is to know the token does not work.
    Failed(String),
    /// It does not answer.
    Late,
}

/// A lookup under way.
type Lookup<'a> = Pin<Box<dyn Future<Output = Result<Destination, Miss>> + Send + 'a>>;

/// A place where targets are looked up.
trait Plugin: Debug + Send + Sync {
    /// The target for a token. It is dropped when it takes too long.
    fn lookup<'a>(&'a self, token: &'a str) -> Lookup<'a>;
}

/// Tokens, and the targets that they stand for.
#[derive(Debug)]
pub struct Tokens {
    kind: Kind,
    source: Anchored,
    host: bool,
    plugin: RwLock<Arc<dyn Plugin>>,
    limit: Duration,
}

impl Tokens {
    /// Opens what `settings` name. Services are asked when there is a token to ask for, and not here.
    ///
    /// # Errors
    /// A source that is not what the plugin wants, a file that cannot be read or holds something else.
    pub fn new(settings: Settings) -> Result<Self, BadSetting> {
        let Settings { kind, source, host, handshake_timeout } = settings;
        let source = Anchored::new(source);
        let plugin = RwLock::new(kind.open(&source)?);
        let limit = LOOKUP.min(handshake_timeout / 2);
        Ok(Tokens { kind, source, host, plugin, limit })
    }

    /// Opens it again: files and keys are read anew.
    ///
    /// # Errors
    /// As [`Tokens::new`]; what was in force stays in force.
    pub fn reload(&self) -> Result<(), BadSetting> {
        let fresh = self.kind.open(&self.source)?;
        *self.plugin.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// The target of a request; `id` names its connection in the log.
    ///
    /// # Errors
    /// The answer to one that has no token (403), or not a good one (403, 404), or whose token nobody knows anything about
    /// because what is to know it fails (502) or does not answer in time (504).
    pub async fn target(&self, request: &Accepted, id: u64) -> Result<Destination, Denial> {
        let token = match self.host {
            true => named_host(request),
            false => named_target(&request.path),
        };
        let token = token.ok_or_else(|| Denial::new("403 Forbidden", "There is no token in the request"))?;
        let plugin = Arc::clone(&self.plugin.read().unwrap_or_else(PoisonError::into_inner));
        let found = timeout(self.limit, plugin.lookup(&token)).await;
        let miss = match found.unwrap_or(Err(Miss::Late)) {
            Ok(destination) => return Ok(destination),
            Err(miss) => miss,
        };
        Err(match miss {
            Miss::Unknown => Denial::new("404 Not Found", "There is no such token"),
            Miss::Refused(why) => Denial::new("403 Forbidden", format!("The token is not good: {why}")),
            Miss::Failed(why) => {
                // What goes on behind the proxy is none of the client's business.
                tracing::warn!(id, plugin = %self.kind, error = why, "tokens cannot be looked up");
                Denial::new("502 Bad Gateway", "The token could not be looked up")
            }
            Miss::Late => Denial::new("504 Gateway Timeout", "The token could not be looked up in time"),
        })
    }
}

/// The token of a path: the parameter `token` of its query, or the path itself.
fn named_target(path: &str) -> Option<String> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let given = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token");
    let token = match given {
        Some((_, token)) => token.into_owned(),
        None => percent_decode_str(path.trim_start_matches('/')).decode_utf8().ok()?.into_owned(),
    };
    (!token.is_empty()).then_some(token)
}

/// The token of a request for a host: its name, without the port and in small letters.
fn named_host(request: &Accepted) -> Option<String> {
    let authority: Authority = request.host.parse().ok()?;
    let host = authority.host().to_ascii_lowercase();
    (!host.is_empty()).then_some(host)
}

/// Does something with files, which may take its time (a file server), beside the connections.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Miss> + Send + 'static) -> Result<T, Miss> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Miss::Failed(error.to_string())))
}

/// The target in a text.
fn written(text: &str) -> Result<Destination, Miss> {
    text.trim().parse().map_err(|error| Miss::Failed(format!("what it has is no target: {error}")))
}

/// The target in an object: `{"host": "H", "port": P}`, or `{"host": "H:P"}`.
fn described(object: &serde_json::Map<String, serde_json::Value>) -> Result<Destination, Miss> {
    use serde_json::Value;
    let miss = |what: &str| Miss::Failed(format!("what it has is no target: {what}"));
    let Some(Value::String(host)) = object.get("host") else {
        return Err(miss("there is no host"));
    };
    let port = match object.get("port") {
        Some(Value::Number(port)) => port.to_string(),
        Some(Value::String(port)) => port.clone(),
        None => return written(host),
        Some(_) => return Err(miss("the port is no number")),
    };
    let bare = host.contains(':') && !host.starts_with('[');
    written(&if bare { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_goes_before_the_path() {
        for (path, token) in [
            ("/?token=a", Some("a")),
            ("/websockify?x=1&token=a%2Bb+c&token=d", Some("a+b c")),
            ("/a%20b/c", Some("a b/c")),
            ("/name?x=1", Some("name")),
            ("/?token=", None),
            ("/name?token=", None),
            ("/", None),
            ("/%ff", None),
        ] {
            assert_eq!(named_target(path).as_deref(), token, "{path}");
        }
    }

    #[test]
    fn objects_and_texts_are_targets() {
        let object = |text: &str| described(&serde_json::from_str(text).unwrap()).map(|target| target.to_string());
        for (text, target) in [
            (r#"{"host": "h", "port": 1}"#, "h:1"),
            (r#"{"host": "h", "port": "1"}"#, "h:1"),
            (r#"{"host": "::1", "port": 1}"#, "[::1]:1"),
            (r#"{"host": "[::1]:1"}"#, "[::1]:1"),
            (r#"{"host": "unix_socket", "port": "/run/x"}"#, "unix:/run/x"),
        ] {
            assert_eq!(object(text).as_deref(), Ok(target), "{text}");
        }
        for text in
            ["{}", r#"{"host": 1}"#, r#"{"host": "h"}"#, r#"{"host": "h", "port": [1]}"#, r#"{"host": "h", "port": 0}"#]
        {
            assert!(matches!(object(text), Err(Miss::Failed(_))), "{text}");
        }
        assert!(written(" h:1\n").is_ok() && written("h").is_err());
    }
}
