//! nchan, the module of nginx for channels: events are posted one by one, and streamed from shared memory.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::memory::resident_kib;
use crate::product::{EventMaker, json};
use crate::rivals::process::{self, Process};
use crate::setting::Setting;
use crate::sse_client::PATIENCE;

/// Where Debian has the module.
const MODULES: [&str; 2] = ["/usr/lib/nginx/modules", "/usr/share/nginx/modules"];

/// Posts that are in flight on the publisher's connection.
const POSTS: usize = 64;

/// A server with a folder of its own.
pub(crate) struct Nchan {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    channels: usize,
    process: Process,
    _folder: TempDir,
}

impl Nchan {
    /// Starts a server; `None` where none is installed.
    pub(crate) fn start(setting: &Setting) -> Result<Option<Self>> {
        let module = MODULES.map(|folder| Path::new(folder).join("ngx_nchan_module.so"));
        let (Some(program), Some(module)) =
            (process::find("nginx"), module.into_iter().find(|module| module.is_file()))
        else {
            setting.not_measured("nchan is not installed (Debian: nginx and libnginx-mod-nchan)");
            return Ok(None);
        };
        let (folder, address) = (tempfile::tempdir_in(setting.folder())?, process::free_address()?);
        let configuration = folder.path().join("nginx.conf");
        fs::write(&configuration, configure(&module, address))?;
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&configuration).stdout(Stdio::null());
        command.arg("-e").arg(folder.path().join("error.log"));
        let mut process = Process::start(&mut command, Signal::TERM)?;
        process.await_port(address).context("nginx")?;
        Ok(Some(Self { address, channels: 0, process, _folder: folder }))
    }

    /// The name of a channel that is not yet there.
    pub(crate) fn new_channel(&mut self) -> usize {
        self.channels += 1;
        self.channels
    }

    /// The request for the stream of a channel.
    pub(crate) fn request(channel: usize) -> String {
        format!("GET /follow?id={channel} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
    }

    /// Posts so many events, many in flight on one connection; returns when the last is taken.
    pub(crate) fn publish(&self, channel: usize, maker: &EventMaker, events: usize) -> Result<()> {
        let mut socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let (mut answers, plan) = (BufReader::new(socket.try_clone()?), maker.plan_id());
        let mut left = events;
        while left > 0 {
            let (count, mut posts) = (left.min(POSTS), String::new());
            for _ in 0..count {
                let event = json(&maker.make(&plan)?);
                posts.push_str(&format!(
                    "POST /publish?id={channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{event}",
                    event.len()
                ));
            }
            socket.write_all(posts.as_bytes())?;
            for _ in 0..count {
                take_answer(&mut answers)?;
            }
            left -= count;
        }
        Ok(())
    }

    /// Resident memory of its workers.
    pub(crate) fn resident_kib(&self) -> Result<f64> {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        children.split_whitespace().map(|child| resident_kib(child.parse()?)).sum()
    }
}

/// Reads an answer to its end.
fn take_answer(answers: &mut BufReader<TcpStream>) -> Result<()> {
    let (mut line, mut length) = (String::new(), 0);
    answers.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 20"), "nchan answered '{}'", line.trim());
    while line != "\r\n" {
        line.clear();
        ensure!(answers.read_line(&mut line)? > 0, "nchan closed the connection");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    answers.read_exact(&mut vec![0; length])?;
    Ok(())
}

/// One worker: the other core is that of the clients.
fn configure(module: &Path, address: SocketAddr) -> String {
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    format!(
        "load_module {};\n{user}\n\
         daemon off;\nworker_processes 1;\nworker_rlimit_nofile 16384;\npid nginx.pid;\nerror_log error.log crit;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n\
           access_log off;\n\
           keepalive_requests 1000000000;\n\
           nchan_shared_memory_size 512M;\n\
           client_body_temp_path body;\nproxy_temp_path proxy;\nfastcgi_temp_path fastcgi;\n\
           uwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n\
           server {{\n\
             listen {address} backlog=4096;\n\
             location = /publish {{ nchan_publisher; nchan_channel_id $arg_id; nchan_message_buffer_length 20000; \
               nchan_message_timeout 10m; }}\n\
             location = /follow {{ nchan_subscriber eventsource; nchan_channel_id $arg_id; \
               nchan_subscriber_first_message newest; }}\n\
           }}\n\
         }}\n",
        module.display()
    )
}
