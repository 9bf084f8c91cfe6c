//! `TokenRedis`: a Redis server knows the targets of tokens.

use std::fmt;

use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo, RedisError};
use tokio::sync::Mutex;

use super::{Lookup, Miss, Plugin, described, written};
use crate::dial::Destination;
use crate::setting::{BadSetting, Source};

/// A Redis server.
pub(super) struct Redis {
    client: Client,
    /// What stands in front of a token in its key, with a colon.
    namespace: String,
    /// The one connection for all lookups, which may be under way side by side on it.
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// A source in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    host: String,
    port: u16,
    db: i64,
    password: Option<String>,
    namespace: String,
}

impl Redis {
    /// The parts of `HOST[:PORT[:DB[:PASSWORD[:NAMESPACE]]]]`. Each may be left empty, and may stand in quotation marks, in
    /// which colons are nothing special.
    pub(super) fn check(source: &str) -> Result<Server, String> {
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
        Ok(Server {
            host,
            port,
            db: db.into(),
            password,
            namespace: namespace.map_or(String::new(), |name| name + ":"),
        })
    }

    pub(super) fn open(source: &Source) -> Result<Self, BadSetting> {
        let Server { host, port, db, password, namespace } =
            Self::check(&source.text()?).map_err(|why| source.bad(why))?;
        let mut settings = RedisConnectionInfo::default().set_db(db);
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        let info = ConnectionAddr::Tcp(host, port).into_connection_info();
        let client = info.and_then(|info| Client::open(info.set_redis_settings(settings)));
        let client = client.map_err(|error| source.bad(error))?;
        Ok(Redis { client, namespace, connection: Mutex::default() })
    }

    /// The value of a key. A connection that fails may have been gone for long: a second one is made.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, RedisError> {
        let kept = self.connection.lock().await.clone();
        if let Some(mut connection) = kept {
            match redis::cmd("GET").arg(key).query_async(&mut connection).await {
                Err(error) if error.is_unrecoverable_error() || error.is_timeout() => {
                    *self.connection.lock().await = None
                }
                answer => return answer,
            }
        }
        let mut connection = self.client.get_multiplexed_async_connection().await?;
        let answer = redis::cmd("GET").arg(key).query_async(&mut connection).await;
        *self.connection.lock().await = Some(connection);
        answer
    }
}

impl Plugin for Redis {
    fn lookup<'a>(&'a self, token: &'a str) -> Lookup<'a> {
        Box::pin(async move {
            let found = self.get(&format!("{}{token}", self.namespace)).await;
            let missed =
                |error: RedisError| if error.is_timeout() { Miss::Late } else { Miss::Failed(error.to_string()) };
            target(&found.map_err(missed)?.ok_or(Miss::Unknown)?)
        })
    }
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

    #[test]
    fn sources_have_up_to_five_parts() {
        let server = |source: &str| {
            let Server { host, port, db, password, namespace } = Redis::check(source).unwrap();
            format!("{host} {port} {db} {} {namespace}", password.unwrap_or_else(|| "-".into()))
        };
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
