//! `TokenRedis`: a Redis server knows the targets of tokens.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo, RedisError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Lookup, Miss, Plugin, described, written};
use crate::dial::Destination;
use crate::resolve::resolve;
use crate::setting::{Anchored, BadSetting};
use crate::socket::tune;
use crate::tls::{TargetTls, Trust};

/// A Redis server.
pub(super) struct Redis {
    server: Server,
    /// For rediss.
    tls: Option<TargetTls>,
    /// The one connection for all lookups, which may be under way side by side on it.
    connection: Mutex<Option<Connection>>,
}

/// A connection, and the task that moves its bytes, which ends with the last copy.
#[derive(Clone)]
struct Connection {
    commands: MultiplexedConnection,
    _driver: Arc<JoinSet<()>>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("namespace", &self.server.namespace).finish_non_exhaustive()
    }
}

/// A source in its parts.
pub(super) struct Server {
    host: String,
    port: u16,
    /// Over TLS.
    secure: bool,
    /// Database, user and password.
    settings: RedisConnectionInfo,
    /// What stands in front of a token in its key, with a colon.
    namespace: String,
}

impl Redis {
    /// The parts of a source: of a URL (see [`Redis::url`]), or of `HOST[:PORT[:DB[:PASSWORD[:NAMESPACE]]]]`. Each of these may be
    /// left empty, and may stand in quotation marks, in which colons are nothing special.
    pub(super) fn check(source: &str) -> Result<Server, String> {
        if source.contains("://") {
            return Self::url(source);
        }
        let parts = split(source)?;
        if parts.len() > 5 {
            return Err(
                "HOST[:PORT[:DB[:PASSWORD[:NAMESPACE]]]] is wanted, parts with colons in quotation marks".into()
            );
        }
        let mut parts = parts.into_iter();
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let host = next().ok_or("the host is missing")?;
        let port = next().map_or(Ok(6379), |port| port.parse().map_err(|_| "the port is a number up to 65535"))?;
        let db = next().map_or(Ok(0), |db| db.parse::<u32>().map_err(|_| "the database is a number"))?;
        let (password, namespace) = (next(), next());
        let mut settings = RedisConnectionInfo::default().set_db(db.into());
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        Ok(Server { host, port, secure: false, settings, namespace: prefix(namespace) })
    }

    /// The parts of `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB][?namespace=NAMESPACE]`, or `rediss` for TLS.
    fn url(source: &str) -> Result<Server, String> {
        let wanted = "redis or rediss://[[USER]:PASSWORD@]HOST[:PORT][/DB][?namespace=NAMESPACE] is wanted";
        let (scheme, rest) = source.split_once("://").ok_or(wanted)?;
        let secure = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err(wanted.into()),
        };
        // TLS is ours, so theirs is spared.
        let url = redis::parse_redis_url(&format!("redis://{rest}")).ok_or(wanted)?;
        let mut namespace = None;
        for (name, value) in url.query_pairs() {
            match &*name {
                "namespace" if !value.is_empty() => namespace = Some(value.into_owned()),
                _ => return Err(wanted.into()),
            }
        }
        if url.fragment().is_some() {
            return Err(wanted.into());
        }
        let info = url.into_connection_info().map_err(|error| error.to_string())?;
        let settings = info.redis_settings().clone();
        match info.addr() {
            ConnectionAddr::Tcp(host, port) if settings.db() >= 0 => {
                Ok(Server { host: host.clone(), port: *port, secure, settings, namespace: prefix(namespace) })
            }
            _ => Err(wanted.into()),
        }
    }

    pub(super) fn open(source: &Anchored) -> Result<Self, BadSetting> {
        let server = Self::check(&source.text()?).map_err(|why| source.bad(why))?;
        let tls = server.secure.then(|| TargetTls::new(Some(&Trust::System))).transpose();
        let tls = tls.map_err(|bad| source.bad(bad.reason))?;
        Ok(Redis { server, tls, connection: Mutex::default() })
    }

    async fn connect(&self) -> Result<Connection, RedisError> {
        let Server { host, port, settings, .. } = &self.server;
        let stream = TcpStream::connect(&resolve(host, *port).await?[..]).await?;
        tune(&stream)?;
        let mut driver = JoinSet::new();
        let commands = match &self.tls {
            Some(tls) => spoken(&mut driver, settings, tls.connect(host, Box::new(stream)).await?).await?,
            None => spoken(&mut driver, settings, stream).await?,
        };
        Ok(Connection { commands, _driver: Arc::new(driver) })
    }

    /// The value of a key. A connection that fails may have been gone for long: a second one is made.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, RedisError> {
        let kept = self.slot().clone();
        if let Some(mut connection) = kept {
            let doubt = Doubt(self);
            match redis::cmd("GET").arg(key).query_async(&mut connection.commands).await {
                Err(error) if error.is_unrecoverable_error() => drop(doubt),
                answer => {
                    std::mem::forget(doubt);
                    return answer;
                }
            }
        }
        let mut connection = self.connect().await?;
        let answer = redis::cmd("GET").arg(key).query_async(&mut connection.commands).await;
        *self.slot() = Some(connection);
        answer
    }

    fn slot(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropped before there is an answer, as when the lookup's time is over, it lets the next lookup make another connection.
struct Doubt<'a>(&'a Redis);

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        *self.0.slot() = None;
    }
}

impl Plugin for Redis {
    fn lookup<'a>(&'a self, token: &'a str) -> Lookup<'a> {
        Box::pin(async move {
            let found = self.get(&format!("{}{token}", self.server.namespace)).await;
            let missed =
                |error: RedisError| if error.is_timeout() { Miss::Late } else { Miss::Failed(error.to_string()) };
            target(&found.map_err(missed)?.ok_or(Miss::Unknown)?)
        })
    }
}

/// A connection over `stream`, whose bytes are moved by a task in `driver`. It has said who it is.
async fn spoken<T>(
    driver: &mut JoinSet<()>,
    settings: &RedisConnectionInfo,
    stream: T,
) -> Result<MultiplexedConnection, RedisError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The lookup has a limit of its own.
    let config = AsyncConnectionConfig::default().set_response_timeout(None);
    let (commands, work) = MultiplexedConnection::new_with_config(settings, stream, config).await?;
    driver.spawn(work);
    Ok(commands)
}

/// A namespace as it stands in front of a token.
fn prefix(namespace: Option<String>) -> String {
    namespace.map_or(String::new(), |name| name + ":")
}

/// The target in a value: `HOST:PORT`, or JSON with it as `host`.
fn target(value: &[u8]) -> Result<Destination, Miss> {
    let text = std::str::from_utf8(value).map_err(|error| Miss::Failed(error.to_string()))?;
    if text.trim_start().starts_with('{') {
        described(&serde_json::from_str(text).map_err(|error| Miss::Failed(error.to_string()))?)
    } else {
        written(text)
    }
}

/// The parts between colons. One that begins with a quotation mark goes to the next.
fn split(source: &str) -> Result<Vec<String>, String> {
    let (mut parts, mut rest) = (Vec::new(), Some(source));
    while let Some(text) = rest {
        let (part, after) = match text.strip_prefix('"') {
            Some(quoted) => {
                let (part, after) = quoted.split_once('"').ok_or("a quotation mark is missing")?;
                (
                    part,
                    if after.is_empty() {
                        None
                    } else {
                        Some(after.strip_prefix(':').ok_or("a colon is wanted behind a quotation mark")?)
                    },
                )
            }
            None => text.split_once(':').map_or((text, None), |(part, after)| (part, Some(after))),
        };
        parts.push(part.to_owned());
        rest = after;
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is by TLS; the rest.
    fn parts(source: &str) -> (bool, String) {
        let Server { host, port, secure, settings, namespace } = Redis::check(source).unwrap();
        let (user, password) = (settings.username().unwrap_or(""), settings.password().unwrap_or("-"));
        (secure, format!("{host} {port} {} {user}{password} {namespace}", settings.db()))
    }

    #[test]
    fn sources_may_be_urls() {
        for (source, expected) in [
            ("redis://h", (false, "h 6379 0 - ")),
            ("rediss://h:1", (true, "h 1 0 - ")),
            ("rediss://:p@h/2", (true, "h 6379 2 p ")),
            ("rediss://u:p%3As@[::1]:1/2?namespace=a:b", (true, "::1 1 2 up:s a:b:")),
        ] {
            let (secure, text) = parts(source);
            assert_eq!((secure, &text[..]), expected, "{source}");
        }
        for bad in [
            "http://h",
            "rediss://",
            "rediss://h:x",
            "rediss://h/x",
            "rediss://h/-1",
            "rediss://h#insecure",
            "rediss://h?x=1",
            "rediss://h?namespace=",
            "unix:///run/x",
            "redis://0.0.0.0",
        ] {
            assert!(Redis::check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sources_have_up_to_five_parts() {
        let server = |source: &str| parts(source).1;
        assert_eq!(server("h"), "h 6379 0 - ");
        assert_eq!(server("h:1"), "h 1 0 - ");
        assert_eq!(server("h:::p:n"), "h 6379 0 p n:");
        assert_eq!(server(r#""::1":1:2:"p:q":"a:b""#), "::1 1 2 p:q a:b:");
        assert_eq!(server(r#"h::::"a:b""#), "h 6379 0 - a:b:");
        for bad in ["", ":1", "h:x", "h:65536", "h::x", "h::-1", "h:1:2:p:n:x", r#""h"#, r#""h"x:1"#] {
            assert!(Redis::check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_plain_or_json() {
        assert_eq!(target(b" h:1\n").unwrap().to_string(), "h:1");
        assert_eq!(target(b"{\"host\": \"h:1\"}").unwrap().to_string(), "h:1");
        for bad in [&b"h"[..], b"{", b"{}", b"\xff"] {
            assert!(matches!(target(bad), Err(Miss::Failed(_))), "{bad:?}");
        }
    }
}
