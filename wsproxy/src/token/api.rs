//! `BaseTokenAPI` and `JSONTokenApi`: a web service knows the target of a token.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Lookup, Miss, Plugin, described, written};
use crate::dial::Destination;
use crate::resolve::resolve;
use crate::setting::{Anchored, BadSetting};
use crate::stream::Stream;
use crate::tls::{TargetTls, Trust};

/// The longest answer that is read.
const LONGEST: usize = 64 << 10;

/// What stands for itself in every part of a URL: the unreserved characters (RFC 3986 section 2.3) do.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How a service answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// `HOST:PORT`.
    Text,
    /// `{"host": HOST, "port": PORT}`.
    Json,
}

/// A web service.
pub(super) struct Api {
    /// The URL; `%s` stands for the token, `%%` for a percent sign.
    template: String,
    /// For https.
    tls: Option<TargetTls>,
    answer: Answer,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Api").field("answer", &self.answer).finish_non_exhaustive()
    }
}

impl Api {
    /// Whether this is a URL with a place for a token; a URL made of it.
    pub(super) fn check(template: &str) -> Result<Uri, String> {
        if !template.replace("%%", "").contains("%s") {
            return Err("a URL is wanted in which %s stands for the token".into());
        }
        let made = |token| filled(template, token).parse::<Uri>().map_err(|error| format!("this is no URL: {error}"));
        let (url, other) = (made("x")?, made("y")?);
        match (url.scheme_str(), url.host()) {
            // No client names a host.
            (Some("http" | "https"), Some(host)) if !host.is_empty() && other.authority() == url.authority() => Ok(url),
            _ => Err("a URL begins with http:// or https:// and a host that stands in it".into()),
        }
    }

    pub(super) fn open(source: &Anchored, answer: Answer) -> Result<Self, BadSetting> {
        let template = source.text()?;
        let url = Self::check(&template).map_err(|why| source.bad(why))?;
        let secure = url.scheme_str() == Some("https");
        let tls = secure.then(|| TargetTls::new(Some(&Trust::System))).transpose();
        let tls = tls.map_err(|bad| source.bad(bad.reason))?;
        Ok(Api { template, tls, answer })
    }

    async fn ask(&self, token: &str) -> Result<Destination, Miss> {
        let fail = |error: &dyn fmt::Display| Miss::Failed(error.to_string());
        // However it is encoded, many services take this for a way out of the place where it stands.
        if token.split(['/', '\\']).any(|part| matches!(part, "." | "..")) {
            return Err(Miss::Unknown);
        }
        let url: Uri = filled(&self.template, token).parse().map_err(|_| Miss::Unknown)?;
        let request = request(&url).map_err(|error| fail(&error))?;
        let host = url.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let addrs = resolve(bare, port).await.map_err(|error| fail(&error))?;
        let mut stream: Stream = Box::new(TcpStream::connect(&addrs[..]).await.map_err(|error| fail(&error))?);
        if let Some(tls) = &self.tls {
            stream = Box::new(tls.connect(bare, stream).await.map_err(|error| fail(&error))?);
        }
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| fail(&error))?;
        // It ends with the lookup, however that ends.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let reply = sender.send_request(request).await.map_err(|error| fail(&error))?;
        match reply.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::TOO_MANY_REQUESTS => {
                return Err(Miss::Failed(format!("the service answers {}", reply.status())));
            }
            status if status.is_client_error() => return Err(Miss::Unknown),
            status => return Err(Miss::Failed(format!("the service answers {status}"))),
        }
        let body = Limited::new(reply.into_body(), LONGEST).collect().await.map_err(|error| fail(&error))?;
        let body = String::from_utf8(body.to_bytes().into()).map_err(|error| fail(&error))?;
        match self.answer {
            Answer::Text => written(&body),
            Answer::Json => described(&serde_json::from_str(&body).map_err(|error| fail(&error))?),
        }
    }
}

impl Plugin for Api {
    fn lookup<'a>(&'a self, token: &'a str) -> Lookup<'a> {
        Box::pin(self.ask(token))
    }
}

/// The URL for a token. Whatever the token holds stays within the place where it stands.
fn filled(template: &str, token: &str) -> String {
    let token = utf8_percent_encode(token, ENCODED).to_string();
    let parts: Vec<String> = template.split("%%").map(|part| part.replace("%s", &token)).collect();
    parts.join("%")
}

/// The request for a URL, with the name and password in it, if there are any.
fn request(url: &Uri) -> Result<Request<Empty<Bytes>>, http::Error> {
    let authority = url.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(path).header(header::HOST, host).header(header::CONNECTION, "close");
    if let Some(user) = user {
        let user = if user.contains(':') { user.to_owned() } else { format!("{user}:") };
        let credentials = STANDARD.encode(percent_decode_str(&user).collect::<Vec<u8>>());
        let mut value = HeaderValue::try_from(format!("Basic {credentials}"))?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    request.body(Empty::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stays_in_its_place() {
        assert_eq!(
            filled("http://h/t/%s?a=%%20&b=%s", "../x?&#%/"),
            "http://h/t/..%2Fx%3F%26%23%25%2F?a=%20&b=..%2Fx%3F%26%23%25%2F"
        );
    }

    #[test]
    fn a_source_is_a_url_with_a_place_for_the_token() {
        assert!(Api::check("http://h/%s").is_ok() && Api::check("https://u:p@[::1]:1/?t=%s").is_ok());
        for bad in
            ["", "http://h/", "http://h/%%s", "ftp://h/%s", "h/%s", "/%s", "http:///%s", "http://%s/", "http://a b/%s"]
        {
            assert!(Api::check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_and_passwords_go_into_their_field() {
        let request = request(&"http://ann:a%20b@h:1/x?y".parse().unwrap()).unwrap();
        assert_eq!(request.headers()["host"], "h:1");
        assert_eq!(request.headers()["authorization"], format!("Basic {}", STANDARD.encode("ann:a b")).as_str());
        assert_eq!(request.uri(), "/x?y");
    }
}
