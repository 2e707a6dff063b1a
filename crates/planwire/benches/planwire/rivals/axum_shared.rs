//! axum with one frame for each event, shared by all clients over tokio's broadcast channel; nothing is stored.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::product::{EventMaker, json};
use crate::setting::Setting;

const GREETING: Bytes = Bytes::from_static(b": hello\n\n");

/// A server in this program.
pub(crate) struct AxumShared {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    frames: broadcast::Sender<Bytes>,
    task: JoinHandle<()>,
}

impl AxumShared {
    /// Starts it with a channel that holds so many events.
    pub(crate) fn start(setting: &Setting, events: usize) -> Result<Self> {
        let (frames, _) = broadcast::channel(events);
        setting.runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            let sender = frames.clone();
            let router =
                Router::new().route("/", get(move || std::future::ready(follow(sender.subscribe()))));
            let listener = listener.tap_io(|stream| {
                // As in our own server; without it single events may wait for each other.
                let _ = stream.set_nodelay(true);
            });
            let task = tokio::spawn(async move {
                // It runs until the task is aborted.
                let _ = axum::serve(listener, router).await;
            });
            Ok(Self { address, frames, task })
        })
    }

    /// The request for its stream.
    pub(crate) const fn request() -> &'static str {
        "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
    }

    /// Makes the frame of the next event and gives it to all clients.
    pub(crate) fn publish(&self, maker: &EventMaker, plan: &planwire_event::PlanId) -> Result<()> {
        let event = maker.make(plan)?;
        let (id, event_type) = (event.event_id(), event.event_type());
        let frame = format!("id: {id}\nevent: {event_type}\ndata: {}\n\n", json(&event));
        self.frames.send(Bytes::from(frame)).map_err(|_| anyhow::anyhow!("there is no client"))?;
        Ok(())
    }
}

impl Drop for AxumShared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn follow(receiver: broadcast::Receiver<Bytes>) -> Response {
    let frames = stream::unfold((receiver, Some(GREETING)), |(mut receiver, greeting)| async {
        let frame = match greeting {
            Some(greeting) => greeting,
            // A client that lost events is cut off, and the row then lacks frames.
            None => receiver.recv().await.ok()?,
        };
        Some((Ok::<_, Infallible>(frame), (receiver, None)))
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(frames)).into_response()
}
