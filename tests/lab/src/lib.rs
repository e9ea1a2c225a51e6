//! The world in a box: real hosts in network namespaces, real DHCP, DNS and MQTT, a simulated Safaricom, and the
//! shipped programs in the middle. The demo and the end-to-end tests both run in it.

pub mod authority;
pub mod broker;
pub mod checks;
pub mod crowd;
pub mod dns;
pub mod dnsmasq;
pub mod downloads;
pub mod freeradius;
pub mod http;
pub mod internet;
pub mod lab;
pub mod net;
pub mod phone;
pub mod portal;
pub mod postgres;
pub mod power;
pub mod process;
pub mod programs;
pub mod relay;
pub mod releases;
pub mod rights;
pub mod router;
pub mod safaricom;
pub mod second;
pub mod sms;
pub mod tool;
pub mod wait;
pub mod world;

pub use lab::Lab;
