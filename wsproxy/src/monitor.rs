//! What a monitoring system asks: `/metrics` and `/healthz`.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::accepting::Complaints;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::socket::Listener;

/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The media type of the OpenMetrics text format, which Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers on `listener` until the future is dropped: `/metrics`, and `/healthz` with 200 while connections are accepted, and
/// 503 when they are no more.
pub async fn run(listener: Listener, metrics: Arc<Metrics>, lifecycle: Lifecycle) {
    let complaints = Complaints::default();
    loop {
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                serve(stream, &metrics, &lifecycle);
            }),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                serve(stream, &metrics, &lifecycle);
            }),
        };
        if let Err(error) = accepted
            && let Err(error) = complaints.after(error, "connection of the monitor").await
        {
            tracing::error!(%error, "the monitor listens no more");
            return;
        }
    }
}

fn serve<T>(stream: T, metrics: &Arc<Metrics>, lifecycle: &Lifecycle)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (metrics, lifecycle) = (Arc::clone(metrics), lifecycle.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let reply = answer(request.method(), request.uri().path(), &metrics, &lifecycle);
        async move { Ok::<_, Infallible>(reply) }
    });
    tokio::spawn(async move {
        let mut http = http1::Builder::new();
        // Whoever asks badly, or leaves, is no concern of ours.
        let _ = http
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    });
}

fn answer(method: &Method, path: &str, metrics: &Metrics, lifecycle: &Lifecycle) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/metrics") => match metrics.text() {
            Ok(text) => (StatusCode::OK, OPEN_METRICS, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", io::Error::other(error).to_string()),
        },
        (&Method::GET | &Method::HEAD, "/healthz") if lifecycle.is_draining() => {
            (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "ending\n".into())
        }
        (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::OK, "text/plain", "ok\n".into()),
        (_, "/metrics" | "/healthz") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET or HEAD\n".into()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "/metrics or /healthz\n".into()),
    };
    let mut reply = Response::new(Full::from(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        reply.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
    }
    reply
}
