//! Who may come in: plugins that look at a request before it is answered.
//!
//! Each plugin says yes or how it is to be refused; a request that all say yes to is let in.

mod basic;
mod client_cert;
mod htpasswd;
mod kind;
mod origin;
mod turns;

use std::fmt::Debug;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::header;

use crate::handler::{Denial, Request, WebRequest};
use crate::limits::client;
use crate::setting::{Anchored, BadSetting, Source};
use crate::tls::TlsFacts;
use crate::trust::fields;

pub use kind::Kind;

/// How long the check of a password may be waited for, if an opening handshake may take longer.
const WAIT: Duration = Duration::from_secs(5);

/// Who is let in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A plugin, and what it is told.
    pub plugin: Option<(Kind, Source)>,
    /// The option that names a file of users and password hashes, as Apache's htpasswd(1) writes it, and that file.
    pub basic_file: Option<Source>,
    /// How long an opening handshake may take. A password waits for half of that at most until it is checked.
    pub handshake_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { plugin: None, basic_file: None, handshake_timeout: WAIT * 2 }
    }
}

/// What a request shows of its sender.
#[derive(Clone, Debug, Default)]
struct Credentials<'a> {
    /// The field `Authorization`; `None` if it is not there, or there more than once.
    authorization: Option<&'a str>,
    /// The page that sent it.
    origin: Option<&'a str>,
    /// Who sent it, if it can be told from others: an address, or a network.
    client: Option<IpAddr>,
    /// The TLS session.
    tls: Option<&'a TlsFacts>,
}

/// A judgement under way.
type Judgement<'a> = Pin<Box<dyn Future<Output = Result<(), Denial>> + Send + 'a>>;

/// One that says who is let in.
trait Plugin: Debug + Send + Sync {
    /// Whether these are let in, or how they are refused.
    fn judge<'a>(&'a self, credentials: &'a Credentials<'a>) -> Judgement<'a>;
}

/// All that say who is let in.
type Plugins = Vec<Box<dyn Plugin>>;

/// Who is let in. By default everybody is.
#[derive(Debug)]
pub struct Auth {
    sources: Sources,
    plugins: RwLock<Arc<Plugins>>,
}

impl Auth {
    /// Opens what `settings` name.
    ///
    /// # Errors
    /// A source that is not what the plugin wants, a file that cannot be read or holds something else.
    pub fn new(settings: Settings) -> Result<Self, BadSetting> {
        let Settings { plugin, basic_file, handshake_timeout } = settings;
        let sources = Sources {
            plugin: plugin.map(|(kind, source)| (kind, Anchored::new(source))),
            basic_file: basic_file.map(Anchored::new),
            patience: WAIT.min(handshake_timeout / 2),
        };
        let plugins = RwLock::new(Arc::new(sources.open()?));
        Ok(Auth { sources, plugins })
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// As [`Auth::new`]; what was in force stays in force.
    pub fn reload(&self) -> Result<(), BadSetting> {
        let fresh = Arc::new(self.sources.open()?);
        *self.plugins.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Whether a request for a WebSocket is let in.
    ///
    /// # Errors
    /// The reply to one that is not.
    pub async fn admit(&self, request: &Request) -> Result<(), Denial> {
        let authorization = only(fields(&request.head, header::AUTHORIZATION.as_str()));
        let authorization = authorization.and_then(|field| std::str::from_utf8(field).ok());
        let (origin, tls) = (request.accepted.origin.as_deref(), request.tls.as_deref());
        self.judge(&Credentials { authorization, origin, client: client(request.peer), tls }).await
    }

    /// Whether a request for a file is let in.
    ///
    /// # Errors
    /// The reply to one that is not.
    pub async fn admit_web(&self, request: &WebRequest) -> Result<(), Denial> {
        let headers = &request.head.headers;
        let field = |name| only(headers.get_all(name).iter()).and_then(|value| value.to_str().ok());
        let tls = request.tls.as_deref();
        let (authorization, origin) = (field(header::AUTHORIZATION), field(header::ORIGIN));
        self.judge(&Credentials { authorization, origin, client: client(request.peer), tls }).await
    }

    async fn judge(&self, credentials: &Credentials<'_>) -> Result<(), Denial> {
        let plugins = Arc::clone(&self.plugins.read().unwrap_or_else(PoisonError::into_inner));
        for plugin in plugins.iter() {
            plugin.judge(credentials).await?;
        }
        Ok(())
    }
}

/// What [`Settings`] name, to be opened again and again.
#[derive(Debug)]
struct Sources {
    plugin: Option<(Kind, Anchored)>,
    basic_file: Option<Anchored>,
    patience: Duration,
}

impl Sources {
    fn open(&self) -> Result<Plugins, BadSetting> {
        let mut plugins = Plugins::new();
        if let Some((kind, source)) = &self.plugin {
            plugins.push(kind.open(source)?);
        }
        if let Some(source) = &self.basic_file {
            plugins.push(Box::new(htpasswd::File::open(source, self.patience)?));
        }
        Ok(plugins)
    }
}

/// The one element that there is.
fn only<T>(mut elements: impl Iterator<Item = T>) -> Option<T> {
    let one = elements.next();
    if elements.next().is_some() { None } else { one }
}
