//! What the portal is compared with: the least that a server can do. One thread, epoll, and one fixed answer to whatever asks.

use anyhow::{Context as _, Result};
use lango_lab::net::Namespace;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::gettid;
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// How often it looks whether it should end, in milliseconds.
const LOOK_EVERY: u16 = 50;

/// The answer to whoever keeps its connection, and to whoever asks for its end.
#[derive(Clone)]
pub struct Answers {
    /// `Connection: keep-alive`
    pub kept: Vec<u8>,
    /// `Connection: close`
    pub closed: Vec<u8>,
}

/// A server that answers everything with the same bytes, until it is dropped.
pub struct Bare {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
    id: u32,
}

impl Bare {
    /// Starts it in a namespace. Who asks for the connection to be closed finds it closed behind the answer.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(host: &Namespace, address: SocketAddr, answers: Answers) -> Result<Self> {
        let listener = host.run(|| TcpListener::bind(address)).with_context(|| format!("the bare server at {address}"))?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let (say, said) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            say.send(gettid().as_raw().cast_unsigned())?;
            serve(&listener, &answers, &stopped)
        });
        Ok(Self { stop, thread: Some(thread), id: said.recv()? })
    }

    /// Its thread's number, under which the kernel counts its processor time.
    pub const fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(cause))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("lango-bench: the bare server ended: {cause:#}");
        }
    }
}

fn serve(listener: &TcpListener, answers: &Answers, stop: &AtomicBool) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    let mut connections = HashMap::<u64, TcpStream>::new();
    let mut events = [EpollEvent::empty(); 64];
    let mut request = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let ready = epoll.wait(&mut events, EpollTimeout::from(LOOK_EVERY))?;
        for event in &events[..ready] {
            if event.data() == 0 {
                while let Ok((stream, _)) = listener.accept() {
                    let key = u64::try_from(stream.as_raw_fd())?;
                    epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, key))?;
                    connections.insert(key, stream);
                }
                continue;
            }
            let Some(stream) = connections.get_mut(&event.data()) else { continue };
            // Requests are small and come one at a time: one read is one of them, and its last header is the one that we look for.
            let length = stream.read(&mut request).unwrap_or(0);
            let closes = request[..length].ends_with(b"Connection: close\r\n\r\n");
            let answer = if closes { &answers.closed } else { &answers.kept };
            let ends = length == 0 || stream.write_all(answer).is_err() || closes;
            if ends {
                connections.remove(&event.data());
            }
        }
    }
    Ok(())
}
