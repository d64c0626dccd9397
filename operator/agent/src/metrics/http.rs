//! Two pages over HTTP/1.1: `/metrics`, and `/healthz`, which says that the process is not stuck.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, info, warn};

use super::text;

/// Connections at a time: others wait to be accepted.
const MOST: usize = 8;
/// The longest that one may take, with everything that is asked on it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest that a question may take to be asked.
const ASKING: Duration = Duration::from_secs(5);
/// No scraper's question is longer.
const LONGEST_REQUEST: usize = 16 << 10;
/// An address that cannot be had is tried again after this long.
const RETRY: Duration = Duration::from_secs(10);

/// Serves at an address for ever; `metrics` gives the page. An address that cannot be had is said
/// and tried again: the node's devices matter more.
pub(super) async fn serve<F: Future<Output = String>>(
    address: SocketAddr,
    metrics: impl Fn() -> F,
) -> Infallible {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                // port 0 stands for any
                let address = listener.local_addr().unwrap_or(address);
                info!(%address, "metrics are served");
                serve_on(listener, &metrics).await;
            }
            Err(error) => warn!(%address, %error, "metrics cannot be served there"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Until the listener breaks.
async fn serve_on<F: Future<Output = String>>(listener: TcpListener, metrics: &impl Fn() -> F) {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST => match accepted {
                Ok((stream, _)) => connections.push(connection(stream, metrics)),
                // most likely out of file descriptors
                Err(error) => return warn!(%error, "no connection can be accepted"),
            },
            Some(()) = connections.next() => {}
        }
    }
}

async fn connection<F: Future<Output = String>>(stream: TcpStream, metrics: &impl Fn() -> F) {
    let service =
        service_fn(|request| async { Ok::<_, Infallible>(answer(request, metrics).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASKING)
        .max_buf_size(LONGEST_REQUEST)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(PATIENCE, pin!(connection)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "scrape"),
        Err(_) => debug!("a connection that took too long"),
    }
}

async fn answer<F: Future<Output = String>>(
    request: Request<Incoming>,
    metrics: &impl Fn() -> F,
) -> Response<Full<Bytes>> {
    let text = "text/plain; charset=utf-8";
    let (code, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, text::CONTENT_TYPE, metrics().await),
        (&Method::GET, "/healthz") => (StatusCode::OK, text, "ok\n".to_owned()),
        (_, "/metrics" | "/healthz") => {
            (StatusCode::METHOD_NOT_ALLOWED, text, "only GET is answered\n".to_owned())
        }
        _ => (StatusCode::NOT_FOUND, text, "there is /metrics and /healthz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    if code == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET"));
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What is answered to a request on a connection of its own.
    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn two_pages_by_get_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let page = || async { "x 1\n".to_owned() };
        let asked = async {
            let close = "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            for (line, begin, end) in [
                ("GET /metrics", "HTTP/1.1 200 OK\r\n", "\r\n\r\nx 1\n"),
                ("GET /healthz", "HTTP/1.1 200 OK\r\n", "\r\n\r\nok\n"),
                ("GET /", "HTTP/1.1 404 Not Found\r\n", "/metrics and /healthz\n"),
                ("POST /metrics", "HTTP/1.1 405 Method Not Allowed\r\n", "only GET is answered\n"),
            ] {
                let text = ask(address, &format!("{line} {close}")).await;
                assert!(text.starts_with(begin) && text.ends_with(end), "{line}: {text}");
            }
            let text = ask(address, &format!("GET /metrics {close}")).await;
            assert!(text.contains("content-type: text/plain; version=0.0.4"), "{text}");
            let long = format!("GET /{} {close}", "x".repeat(2 * LONGEST_REQUEST));
            assert!(!ask(address, &long).await.contains("200 OK"));
        };
        tokio::select! {
            () = serve_on(listener, &page) => panic!("it ended"),
            () = asked => {}
        }
    }

    #[tokio::test]
    async fn who_asks_nothing_is_in_nobodys_way() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = async {
            let mut silent = Vec::new();
            for _ in 1..MOST {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            let text =
                ask(address, "GET /healthz HTTP/1.1\r\nConnection: close\r\nHost: a\r\n\r\n");
            assert!(text.await.ends_with("ok\n"));
        };
        tokio::select! {
            () = serve_on(listener, &|| async { String::new() }) => panic!("it ended"),
            () = asked => {}
        }
    }
}
