//! One connection: a name becomes addresses once, all of them are checked, and one of them is connected to.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use http_body_util::Full;
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT_ENCODING, CONNECTION, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::HttpConfig;
use super::arguments::Request;
use crate::policy::Gate;
use crate::tool::ToolError;

/// Time to find the addresses of a name and to connect to one of them.
pub const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Time to agree on TLS.
pub const TLS_TIME: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried; all are checked.
pub const ADDRESSES_MAX: usize = 8;
/// Bytes of a response's headers.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Headers of a response.
pub const HEADERS_MAX: usize = 100;

type Resolve = dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

/// Finds the addresses of a name. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Resolve>);

impl Resolver {
    /// Resolves by a function of a host and a port.
    pub fn new(
        resolve: impl Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(resolve))
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(|host, port| {
            async move {
                let found = tokio::net::lookup_host((host, port)).await?;
                Ok(found.map(|address| address.ip()).collect())
            }
            .boxed()
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// Whose certificates are believed.
#[derive(Clone, Debug, Default)]
pub enum Roots {
    /// Those that the machine believes; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
    #[default]
    System,
    /// These and no others, in DER.
    Only(Vec<Vec<u8>>),
}

/// Makes connections.
#[derive(Default)]
pub(super) struct Connector {
    config: HttpConfig,
    /// Made by the first call that needs it.
    tls: OnceLock<Result<TlsConnector, String>>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A response whose body is still to be read, and the connection that it comes from.
pub(super) struct Exchange {
    response: Response<Incoming>,
    /// Moves the bytes; ends with the body. Dropping it closes the connection.
    driver: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Exchange {
    pub(super) const fn response(&self) -> &Response<Incoming> {
        &self.response
    }

    /// Does something with the response while its connection is served.
    pub(super) async fn with<T>(&mut self, work: impl AsyncFnOnce(&mut Response<Incoming>) -> T) -> T {
        tokio::select! {
            biased;
            done = work(&mut self.response) => done,
            () = forever(&mut self.driver) => std::future::pending().await,
        }
    }
}

/// What the peer still has to say is in the body, even if the connection is over.
async fn forever(driver: &mut (impl Future<Output = ()> + Unpin)) {
    driver.await;
    std::future::pending::<()>().await;
}

impl Connector {
    pub(super) fn new(config: HttpConfig) -> Self {
        Self { config, tls: OnceLock::new() }
    }

    /// Sends a request; returns when the head of the response is there.
    pub(super) async fn send(&self, request: &Request, gate: &Gate) -> Result<Exchange, ToolError> {
        let stream = self.connect(request, gate).await?;
        let failed = |error: hyper::Error| bad_response(request, &error);
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEADER_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        let mut driver: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(connection.map(|_| ()));
        let message = message(request)?;
        let response = tokio::select! {
            biased;
            response = sender.send_request(message) => response.map_err(failed)?,
            () = forever(&mut driver) => std::future::pending().await,
        };
        // While it reads, hyper takes up to twice as much.
        let headers = response.headers();
        if headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
            > HEADER_BYTES_MAX
        {
            let message = format!("{}: headers of more than {HEADER_BYTES_MAX} bytes", request.named());
            return Err(ToolError::new("too_large", message));
        }
        Ok(Exchange { response, driver })
    }

    async fn connect(&self, request: &Request, gate: &Gate) -> Result<Box<dyn Stream>, ToolError> {
        let target = &request.target;
        let no_answer = |_| failed("connect_failed", request, "no connection in time");
        let stream = timeout(CONNECT_TIME, self.tcp(request, gate)).await.map_err(no_answer)??;
        // The request is sent at once.
        let _ = stream.set_nodelay(true);
        if !target.is_tls {
            return Ok(Box::new(stream));
        }
        let tls = self.tls.get_or_init(|| tls_of(&self.config.roots));
        let tls = tls.as_ref().map_err(|why| failed("tls_failed", request, why))?;
        let name = ServerName::try_from(target.host.clone())
            .map_err(|error| failed("tls_failed", request, error))?;
        let agreed = timeout(TLS_TIME, tls.connect(name, stream)).await;
        let agreed = agreed.map_err(|_| failed("tls_failed", request, "no agreement in time"))?;
        Ok(Box::new(agreed.map_err(|error| failed("tls_failed", request, error))?))
    }

    async fn tcp(&self, request: &Request, gate: &Gate) -> Result<TcpStream, ToolError> {
        let addresses = self.addresses(request).await?;
        addresses.iter().try_for_each(|address| gate.admit_address(*address, request.target.port))?;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            match TcpStream::connect(SocketAddr::new(address, request.target.port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(failed("connect_failed", request, last))
    }

    /// The addresses of a host. If one of them may not be reached, none is: who answers for the name cannot be
    /// trusted with the choice.
    async fn addresses(&self, request: &Request) -> Result<Vec<IpAddr>, ToolError> {
        let target = &request.target;
        let host = target.host.as_str();
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => (self.config.resolver.0)(host.to_owned(), target.port)
                .await
                .map_err(|error| failed("resolve_failed", request, error))?,
        };
        if addresses.is_empty() {
            return Err(failed("resolve_failed", request, "the name has no address"));
        }
        if let Some(private) =
            addresses.iter().find(|address| !self.config.allow_private.permits(host, **address))
        {
            let why = format!("its address {private} is not a public one and not allowed");
            return Err(failed("private_address", request, why));
        }
        Ok(addresses)
    }
}

fn failed(code: &str, request: &Request, why: impl fmt::Display) -> ToolError {
    ToolError::new(code, request.shown.failed(why))
}

fn message(request: &Request) -> Result<hyper::Request<Full<Bytes>>, ToolError> {
    let target = &request.target;
    let mut message = hyper::Request::new(Full::new(request.body.clone()));
    *message.method_mut() = request.method.clone();
    *message.uri_mut() =
        target.path_and_query().parse().map_err(|error| ToolError::argument(format!("url: {error}")))?;
    *message.headers_mut() = request.headers.clone();
    let host = HeaderValue::from_str(&target.authority())
        .map_err(|_| ToolError::argument("url: the host cannot be sent"))?;
    let headers = message.headers_mut();
    headers.insert(HOST, host);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(message)
}

/// What the server sent is not HTTP, or not all of it.
pub(super) fn bad_response(request: &Request, error: &hyper::Error) -> ToolError {
    let code = if error.is_parse_too_large() { "too_large" } else { "bad_response" };
    let mut message = format!("{}: {error}", request.named());
    if let Some(cause) = std::error::Error::source(error) {
        message = format!("{message}: {cause}");
    }
    ToolError::new(code, message)
}

fn tls_of(roots: &Roots) -> Result<TlsConnector, String> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
        }
        Roots::Only(certificates) => {
            for certificate in certificates {
                let certificate = CertificateDer::from(certificate.clone());
                store.add(certificate).map_err(|error| error.to_string())?;
            }
        }
    }
    if store.is_empty() {
        return Err("the machine has no certificates of authorities".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
