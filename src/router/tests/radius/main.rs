//! The RADIUS adapter among real servers and forged ones. Runs as root; traffic stays in namespaces of its own.

mod accounting;
mod forged;
mod logins;
mod orders;
mod radsec;
mod servers;
mod storm;
mod world;
