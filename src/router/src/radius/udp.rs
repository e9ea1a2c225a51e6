//! RADIUS over UDP: a socket for each server, connected to it, so that what others send is never seen; and the socket on which
//! servers' orders come.

use super::orders::{Desk, Sender};
use super::packet::MAX_LENGTH;
use super::server::Server;
use crate::retry::Retry;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// The addresses of a server's name. Asks the system's resolver, on another thread.
pub async fn resolve(server: &Server) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<SocketAddr> = lookup_host((server.config.host.as_str(), server.config.port)).await?.collect();
    server.resolved(addresses.iter().map(|address| address.ip().to_canonical()).collect());
    Ok(addresses)
}

/// Sends and receives for a server, as long as it lives.
pub async fn serve(server: Rc<Server>, mut packets: mpsc::Receiver<Vec<u8>>) {
    let mut retry = Retry::of_a_connection();
    loop {
        match open(&server).await {
            Ok(socket) => {
                retry.reset();
                server.connected(socket.local_addr().ok().map(|address| address.ip()));
                if !carry(&server, &socket, &mut packets).await {
                    return;
                }
                // What was asked by the old socket is asked again by whoever asked it.
            }
            Err(cause) => {
                let wait = retry.failed(Duration::ZERO, u16::MAX);
                log::warn!("radius: {} cannot be reached: {cause}; trying again in {:.0} s", server.config, wait.as_secs_f32());
                sleep(wait).await;
            }
        }
    }
}

async fn open(server: &Server) -> io::Result<UdpSocket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in resolve(server).await? {
        let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).await?;
        match socket.connect(address).await {
            Ok(()) => return Ok(socket),
            Err(cause) => last = cause,
        }
    }
    Err(last)
}

/// Gives back whether a new socket is wanted; otherwise nobody asks any more.
async fn carry(server: &Server, socket: &UdpSocket, packets: &mut mpsc::Receiver<Vec<u8>>) -> bool {
    let mut buffer = [0; MAX_LENGTH];
    loop {
        tokio::select! {
            // An error is a packet that nobody took ("connection refused"): the waiting for an answer tells the rest.
            received = socket.recv(&mut buffer) => if let Ok(length) = received {
                server.received(buffer.get(..length).unwrap_or_default(), None);
            },
            packet = packets.recv() => match packet {
                Some(packet) => if let Err(cause) = socket.send(&packet).await {
                    log::debug!("radius: {}: not sent: {cause}", server.config);
                },
                None => return false,
            },
            () = server.renew.notified() => return true,
        }
    }
}

/// The socket for servers' orders, IPv6 and IPv4.
///
/// # Errors
/// When the port is taken.
pub fn listen(port: u16) -> io::Result<UdpSocket> {
    // Both by one socket; where the kernel has no IPv6, IPv4 alone.
    let socket =
        std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).or_else(|_| std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Takes orders from the servers' addresses; what comes from others is not looked at.
pub async fn take_orders(socket: UdpSocket, servers: Vec<Rc<Server>>, secret: Vec<u8>, desk: Rc<Desk>) {
    let socket = Rc::new(socket);
    let mut buffer = [0; MAX_LENGTH];
    loop {
        let Ok((length, source)) = socket.recv_from(&mut buffer).await else {
            sleep(Duration::from_millis(100)).await; // a socket that always fails must not take the processor
            continue;
        };
        if servers.iter().any(|server| server.has(source.ip().to_canonical())) {
            desk.take(buffer.get(..length).unwrap_or_default(), &secret, source, &Sender::Datagram(Rc::clone(&socket), source));
        } else {
            log::debug!("radius: {source} is no server of ours; its packet is dropped");
        }
    }
}
