//! Who may come in: plugins that look at a request before it is answered.
//!
//! Each plugin says yes or how it is to be refused; a request that all say yes to is let in.

mod basic;
mod client_cert;
mod htpasswd;
mod kind;
mod origin;

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use http::header;

use crate::handler::{Denial, Request, WebRequest};
use crate::setting::{Anchored, BadSetting, Source};
use crate::tls::TlsFacts;
use crate::trust::fields;

pub use kind::Kind;

/// Who is let in.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// A plugin, and what it is told.
    pub plugin: Option<(Kind, Source)>,
    /// The option that names a file of users and password hashes, as Apache's htpasswd(1) writes it, and that file.
    pub basic_file: Option<Source>,
}

/// What a request shows of its sender.
#[derive(Clone, Debug, Default)]
struct Credentials<'a> {
    /// The field `Authorization`; `None` if it is not there, or there more than once.
    authorization: Option<&'a str>,
    /// The page that sent it.
    origin: Option<&'a str>,
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
        let Settings { plugin, basic_file } = settings;
        let sources = Sources {
            plugin: plugin.map(|(kind, source)| (kind, Anchored::new(source))),
            basic_file: basic_file.map(Anchored::new),
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
        self.judge(&Credentials { authorization, origin, tls }).await
    }

    /// Whether a request for a file is let in.
    ///
    /// # Errors
    /// The reply to one that is not.
    pub async fn admit_web(&self, request: &WebRequest) -> Result<(), Denial> {
        let headers = &request.head.headers;
        let field = |name| only(headers.get_all(name).iter()).and_then(|value| value.to_str().ok());
        let tls = request.tls.as_deref();
        let credentials =
            Credentials { authorization: field(header::AUTHORIZATION), origin: field(header::ORIGIN), tls };
        self.judge(&credentials).await
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
}

impl Sources {
    fn open(&self) -> Result<Plugins, BadSetting> {
        let mut plugins = Plugins::new();
        if let Some((kind, source)) = &self.plugin {
            plugins.push(kind.open(source)?);
        }
        if let Some(source) = &self.basic_file {
            plugins.push(Box::new(htpasswd::File::open(source)?));
        }
        Ok(plugins)
    }
}

/// The one element that there is.
fn only<T>(mut elements: impl Iterator<Item = T>) -> Option<T> {
    let one = elements.next();
    if elements.next().is_some() { None } else { one }
}
