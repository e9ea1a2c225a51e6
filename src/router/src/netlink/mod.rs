//! Netlink: the bytes (`codec`, pure) and the sockets (`socket`, `events`). Shared by the gate (nftables) and the
//! neighbours (rtnetlink).

pub mod codec;
pub mod events;
pub mod socket;
