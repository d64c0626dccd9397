//! Answers kubelet's probes: this process still gets around to it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tracing::debug;

/// The longest that a probe may take to ask.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens for probes.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers every request with 200 `ok`, one after the other. That is all there is to say: the
/// process has one thread, and an answer proves that it is not stuck.
pub async fn serve(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // out of file descriptors, most likely
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        match tokio::time::timeout(PATIENCE, answer(stream)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(error = %error, "probe"),
            Err(_) => debug!("probe that asks nothing"),
        }
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    // what is asked does not matter
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).await?;
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\
                  Connection: close\r\n\r\nok\n";
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_probe_is_answered() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener));
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert!(
                text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nok\n"),
                "{text}"
            );
        }
    }
}
