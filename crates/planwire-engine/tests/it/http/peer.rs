//! A server that answers as a test says and remembers what it was asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use planwire_engine::Secrets;
use planwire_engine::stop::Stopper;
use planwire_engine::tool::{Tool as _, ToolContext, ToolError, ToolOutput};
use planwire_engine::tools::http::{AllowPrivate, Http, HttpConfig};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub(crate) const AUTHORITY: &[u8] = include_bytes!("authority.der");
pub(crate) const LOCALHOST: &[u8] = include_bytes!("localhost.der");
/// Of a certificate that only these tests believe.
const LOCALHOST_KEY: &[u8] = include_bytes!("localhost.key.der");

/// What a request gets.
pub(crate) enum Answer {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, for as long as the client waits.
    Silence,
    /// These bytes, then the last one again and again for as long as the client takes it.
    Endless(Vec<u8>),
}

/// A response of a status, headers and a body.
pub(crate) fn response(status: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Answer {
    let body = body.as_ref();
    let mut head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    headers.iter().for_each(|header| head.push_str(&format!("{header}\r\n")));
    head.push_str("\r\n");
    Answer::Bytes([head.as_bytes(), body].concat())
}

type Handler = dyn Fn(&str) -> Answer + Send + Sync;

/// A server on a port of this machine, until it is dropped.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Peer {
    pub(crate) async fn plain(handle: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(handle, None).await
    }

    /// As `localhost`, with the certificate of the tests.
    pub(crate) async fn tls(handle: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(LOCALHOST_KEY));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(LOCALHOST)], key)
            .unwrap();
        Self::start(handle, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start(
        handle: impl Fn(&str) -> Answer + Send + Sync + 'static,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (handle, seen): (Arc<Handler>, _) = (Arc::new(handle), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (handle, seen, tls) = (Arc::clone(&handle), Arc::clone(&seen), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &*handle, &seen).await,
                        // A client that does not believe the certificate goes away.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &*handle, &seen).await,
                            Err(_) => Some(()),
                        },
                    }
                });
            }
        });
        Self { address, requests, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests so far, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Nothing, once the client has gone.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    handle: &Handler,
    seen: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut request = Vec::new();
    let head = loop {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length =
        text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    while request.len() < head + length {
        stream.read_buf(&mut request).await.ok().filter(|read| *read > 0)?;
    }
    let request = String::from_utf8(request).unwrap();
    seen.lock().unwrap().push(request.clone());
    match handle(&request) {
        Answer::Bytes(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            stream.shutdown().await.ok()
        }
        Answer::Silence => {
            while stream.read_buf(&mut Vec::new()).await.ok()? > 0 {}
            None
        }
        Answer::Endless(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            let more = vec![*bytes.last()?; 16 * 1024];
            loop {
                stream.write_all(&more).await.ok()?;
            }
        }
    }
}

/// The tool as tests need it: this machine may be reached.
pub(crate) fn local() -> Http {
    Http::new(HttpConfig {
        allow_private: AllowPrivate::parse(["127.0.0.1"]).unwrap(),
        ..HttpConfig::default()
    })
}

pub(crate) async fn call_until(
    http: &Http,
    stopper: &Stopper,
    arguments: Value,
) -> Result<ToolOutput, ToolError> {
    let redactor = Secrets::none().redactor().clone();
    let context = ToolContext::new("/", stopper.handle()).with_redactor(redactor);
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    http.call(arguments, context).await
}

pub(crate) async fn call(http: &Http, arguments: Value) -> Result<ToolOutput, ToolError> {
    call_until(http, &Stopper::new(), arguments).await
}

pub(crate) async fn failure(http: &Http, arguments: Value) -> (String, String) {
    let error = call(http, arguments).await.unwrap_err();
    (error.code, error.message)
}
