//! The portal over real sockets: every call and page of the contract, the probes of every system, and what the street throws at it.

mod client;
mod world;

mod calls;
mod pages;
mod probes;
mod street;
