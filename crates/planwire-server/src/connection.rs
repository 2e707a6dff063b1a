//! One connection: HTTP/1.1 with a limit on everything.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::app::App;
use crate::config::{HEAD_BYTES_MAX, HEADERS_MAX, SEND_BUFFER_BYTES, UNSENT_BYTES_MAX};
use crate::routes::Service;
use crate::write_deadline::WriteDeadline;

/// Serves a connection until either side closes it, its time is over, or the server shuts down.
pub(crate) async fn serve(stream: TcpStream, app: Arc<App>, service: Service) {
    let limits = app.config.limits;
    if let Err(error) = prepare(&stream, limits.write_stall) {
        tracing::debug!(error = &error as &dyn std::error::Error, "failed to prepare a connection");
        return;
    }
    let io = TokioIo::new(WriteDeadline::new(stream, limits.write_stall));
    let answer = service_fn(|request: hyper::Request<hyper::body::Incoming>| async {
        Ok::<_, Infallible>(service.answer(request.map(Body::new)).await)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_read)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(io, answer);
    let mut connection = std::pin::pin!(connection);
    let mut closing = app.closing.clone();
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients leave in every possible way; none of them is an error of ours.
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended early");
    }
}

/// Sets what the kernel shall do with the socket.
fn prepare(stream: &TcpStream, stall: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    // Half-open: what was sent and is never acknowledged ends the connection, as a write that never proceeds does.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(stall))?;
    #[cfg(not(target_os = "linux"))]
    let _ = stall;
    Ok(())
}
