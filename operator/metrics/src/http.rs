//! Pages over HTTP/1.1, on a TCP port or a Unix socket: for scrapes and probes.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tracing::{debug, info, warn};

use crate::text;

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

/// What is to be read on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    code: StatusCode,
    kind: &'static str,
    text: String,
}

impl Answer {
    /// Metrics.
    pub fn metrics(text: String) -> Self {
        Self { code: StatusCode::OK, kind: text::CONTENT_TYPE, text }
    }

    /// Whether all is well, for a probe: `ok`, or why not.
    pub fn probe(problem: Option<String>) -> Self {
        let code = if problem.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Self::plain(code, problem.unwrap_or_else(|| "ok".to_owned()))
    }

    fn plain(code: StatusCode, line: String) -> Self {
        Self { code, kind: "text/plain; charset=utf-8", text: format!("{line}\n") }
    }
}

/// Serves pages at an address for ever; `page` gives the answer to one of `paths`. An address that
/// cannot be had is said and tried again: the node's devices matter more.
pub async fn serve<F: Future<Output = Answer>>(
    address: SocketAddr,
    paths: &'static [&'static str],
    page: impl Fn(&'static str) -> F,
) -> Infallible {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                // port 0 stands for any
                let address = listener.local_addr().unwrap_or(address);
                info!(%address, "metrics are served");
                let accept = || async { listener.accept().await.map(|(stream, _)| stream) };
                serve_on(accept, paths, &page).await;
            }
            Err(error) => warn!(%address, %error, "metrics cannot be served there"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The same on a Unix socket, which takes the place of whatever socket is there.
pub async fn serve_unix<F: Future<Output = Answer>>(
    path: &Path,
    paths: &'static [&'static str],
    page: impl Fn(&'static str) -> F,
) -> Infallible {
    loop {
        // a file that is no socket cannot be connected to, and stays
        if std::os::unix::net::UnixStream::connect(path).is_err_and(|e| is_left(&e)) {
            let _ = std::fs::remove_file(path);
        }
        match UnixListener::bind(path) {
            Ok(listener) => {
                let accept = || async { listener.accept().await.map(|(stream, _)| stream) };
                serve_on(accept, paths, &page).await;
            }
            Err(error) => warn!(path = %path.display(), %error, "probes cannot be served there"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Whether nobody listens on a socket any more.
fn is_left(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

/// Until the listener breaks.
async fn serve_on<S, A, F>(
    accept: impl Fn() -> A,
    paths: &'static [&'static str],
    page: &impl Fn(&'static str) -> F,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Future<Output = io::Result<S>>,
    F: Future<Output = Answer>,
{
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = accept(), if connections.len() < MOST => match accepted {
                Ok(stream) => connections.push(connection(stream, paths, page)),
                // most likely out of file descriptors
                Err(error) => return warn!(%error, "no connection can be accepted"),
            },
            Some(()) = connections.next() => {}
        }
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin, F: Future<Output = Answer>>(
    stream: S,
    paths: &'static [&'static str],
    page: &impl Fn(&'static str) -> F,
) {
    let service =
        service_fn(|request| async { Ok::<_, Infallible>(answer(request, paths, page).await) });
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

async fn answer<F: Future<Output = Answer>>(
    request: Request<Incoming>,
    paths: &'static [&'static str],
    page: &impl Fn(&'static str) -> F,
) -> Response<Full<Bytes>> {
    let known = paths.iter().copied().find(|path| *path == request.uri().path());
    let Answer { code, kind, text } = match (known, request.method()) {
        (Some(path), &Method::GET) => page(path).await,
        (Some(_), _) => {
            Answer::plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered".to_owned())
        }
        (None, _) => {
            Answer::plain(StatusCode::NOT_FOUND, format!("there is {}", paths.join(" and ")))
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
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
    use tokio::net::{TcpStream, UnixStream};

    use super::*;

    const PATHS: &[&str] = &["/metrics", "/readyz"];

    /// What is answered to a request on a connection of its own.
    async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    async fn page(path: &'static str) -> Answer {
        match path {
            "/metrics" => Answer::metrics("x 1\n".to_owned()),
            _ => Answer::probe(Some("not yet".to_owned())),
        }
    }

    #[tokio::test]
    async fn pages_by_get_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = async {
            let close = "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            let ask =
                async |text: String| ask(TcpStream::connect(address).await.unwrap(), &text).await;
            for (line, begin, end) in [
                ("GET /metrics", "HTTP/1.1 200 OK\r\n", "\r\n\r\nx 1\n"),
                ("GET /readyz", "HTTP/1.1 503 Service Unavailable\r\n", "\r\n\r\nnot yet\n"),
                ("GET /", "HTTP/1.1 404 Not Found\r\n", "/metrics and /readyz\n"),
                ("POST /metrics", "HTTP/1.1 405 Method Not Allowed\r\n", "only GET is answered\n"),
            ] {
                let text = ask(format!("{line} {close}")).await;
                assert!(text.starts_with(begin) && text.ends_with(end), "{line}: {text}");
            }
            let text = ask(format!("GET /metrics {close}")).await;
            assert!(text.contains("content-type: text/plain; version=0.0.4"), "{text}");
            let long = format!("GET /{} {close}", "x".repeat(2 * LONGEST_REQUEST));
            assert!(!ask(long).await.contains("200 OK"));
        };
        let accept = || async { listener.accept().await.map(|(stream, _)| stream) };
        tokio::select! {
            () = serve_on(accept, PATHS, &page) => panic!("it ended"),
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
            let stream = TcpStream::connect(address).await.unwrap();
            let text = ask(stream, "GET /metrics HTTP/1.1\r\nConnection: close\r\nHost: a\r\n\r\n");
            assert!(text.await.ends_with("x 1\n"));
        };
        let accept = || async { listener.accept().await.map(|(stream, _)| stream) };
        tokio::select! {
            () = serve_on(accept, PATHS, &page) => panic!("it ended"),
            () = asked => {}
        }
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let asked = async {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
            let stream = loop {
                match UnixStream::connect(&path).await {
                    Ok(stream) => break stream,
                    Err(e) => assert!(tokio::time::Instant::now() < deadline, "{e}"),
                }
                tokio::task::yield_now().await;
            };
            ask(stream, "GET /readyz HTTP/1.1\r\nConnection: close\r\nHost: a\r\n\r\n").await
        };
        tokio::select! {
            _ = serve_unix(&path, PATHS, page) => panic!("it ended"),
            text = asked => assert!(text.ends_with("not yet\n"), "{text}"),
        }
    }
}
