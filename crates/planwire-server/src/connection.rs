//! One connection: HTTP/1.1 with a limit on everything.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::response::Parts;
use futures_util::FutureExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::app::App;
use crate::config::{HEAD_BYTES_MAX, HEADERS_MAX, SEND_BUFFER_BYTES, UNSENT_BYTES_MAX};
use crate::routes::Service;
use crate::sse_body::{self, AnyStream};
use crate::sse_connection::{self, Io};
use crate::write_deadline::WriteDeadline;

/// Serves a connection until either side closes it, its time is over, or the server shuts down.
pub(crate) async fn serve(stream: TcpStream, app: Arc<App>, service: Service) {
    let limits = app.config.limits;
    if let Err(error) = prepare(&stream, limits.write_stall) {
        tracing::debug!(error = &error as &dyn std::error::Error, "failed to prepare a connection");
        return;
    }
    let io = WriteDeadline::new(stream, limits.write_stall);
    // Boxed, so that a stream does not keep the room that requests took before it.
    let clock = Arc::clone(&app.config.clock);
    let ended = match Box::pin(requests(io, app, service)).await {
        Ok(Some(Taken { io, parts, stream })) => {
            let head = sse_connection::head(&parts, clock.now());
            drop(parts);
            stream.carry(io, head).await.map_err(Into::into)
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        // Clients leave in every possible way; none of them is an error of ours.
        tracing::debug!(error = &*error as &dyn std::error::Error, "a connection ended early");
    }
}

/// A connection whose last answer is an event stream.
struct Taken {
    io: Io,
    parts: Parts,
    stream: Box<dyn AnyStream>,
}

/// Answers requests until the connection ends, or carries a stream from now on.
async fn requests(
    io: Io,
    app: Arc<App>,
    service: Service,
) -> Result<Option<Taken>, Box<dyn std::error::Error + Send + Sync>> {
    let (taken, answered) = oneshot::channel();
    let (service, taken) = (&service, &Mutex::new(Some(taken)));
    let answer = service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
        let may_take = sse_connection::may_take(&request);
        let response = service.answer(request.map(Body::new)).await;
        let Some(stream) = may_take.then(|| sse_body::take(&response)).flatten() else {
            return Ok::<_, Infallible>(response);
        };
        let taken = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(taken) = taken {
            // Whoever waits for it lives as long as this.
            let _ = taken.send((response.into_parts().0, stream));
        }
        // hyper waits for an answer until the connection is taken from it, which is next.
        std::future::pending().await
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.config.limits.head_read)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(io), answer);
    tokio::select! {
        ended = &mut connection => ended?,
        () = app.closing.begun() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            connection.await?;
        }
        Ok((parts, stream)) = answered => {
            let io = connection.into_parts().io.into_inner();
            return Ok(Some(Taken { io, parts, stream }));
        }
    }
    Ok(None)
}

/// Prepares a thread that will answer requests, so that it goes on when the machine's clock is set to a time before
/// 1970. Call it where the runtime starts its threads.
///
/// hyper keeps the text of `Date` for each thread, looks at the clock once more than a second has passed, and panics at
/// a time that HTTP cannot write. A clock that stands before its last look makes it keep what it has: so each thread
/// takes its first look here, while the clock is right.
pub fn prepare_thread() {
    if SystemTime::now() < UNIX_EPOCH {
        return;
    }
    let nothing = service_fn(|_: hyper::Request<hyper::body::Incoming>| async {
        Ok::<_, Infallible>(hyper::Response::new(Body::empty()))
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(tokio::io::empty()), nothing);
    // It has ended before it began, and has looked at the clock by then.
    let _ = connection.now_or_never();
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
