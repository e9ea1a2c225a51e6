//! A rule's expressions, written one behind the other. Pure.

use super::nft::{OBJECT_EXPECTATION, Request, add_rule, attribute};
use super::set::{KeyType, Set};
use crate::netlink::codec::Writer;

/// The register that everything is loaded into (`NFT_REG_1`).
const REGISTER: u32 = 1;
/// The same register's third word (`NFT_REG32_02`): where an address goes behind an Ethernet address, as one key.
const BEHIND_SENDER: u32 = 10;
/// The register that a verdict is put into (`NFT_REG_VERDICT`).
const VERDICT: u32 = 0;

/// Something about a packet that its headers do not hold (`enum nft_meta_keys`).
#[derive(Debug, Clone, Copy)]
pub enum Meta {
    /// Its class, where an interface holds speeds.
    Priority = 2,
    /// The interface that it came by.
    InputInterface = 6,
    /// The interface that it leaves by.
    OutputInterface = 7,
    /// The input interface's kind of hardware.
    InputHardware = 8,
    /// IPv4 or IPv6.
    Protocol = 15,
    /// TCP, UDP, …
    Transport = 16,
}

/// IP's protocol numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// ICMP
    Icmp = 1,
    /// TCP
    Tcp = 6,
    /// UDP
    Udp = 17,
    /// `ICMPv6`
    Icmp6 = 58,
}

/// Which IP address of a packet.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    /// Where it comes from.
    Source,
    /// Where it goes to.
    Destination,
}

/// How much may come in a time.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// So much in the long run …
    pub rate: u64,
    /// … in so many seconds,
    pub seconds: u64,
    /// and so much at once.
    pub burst: u32,
    /// Whether it is bytes that are counted, with their IP headers, or packets.
    pub bytes: bool,
}

impl Limit {
    fn write(self, w: &mut Writer, beyond: bool) {
        w.be64(1, self.rate);
        w.be64(2, self.seconds);
        w.be32(3, self.burst);
        w.be32(4, u32::from(self.bytes)); // NFT_LIMIT_PKT_BYTES
        w.be32(5, u32::from(beyond)); // NFT_LIMIT_F_INV
    }
}

/// An interface's name as the kernel compares it: zeros behind.
pub type InterfaceName = [u8; 16];

/// A rule being written.
#[derive(Debug)]
pub struct Rule {
    chain: &'static str,
    expressions: Writer,
    comment: Option<String>,
}

impl Rule {
    /// A rule at the end of a chain.
    #[must_use]
    pub fn new(chain: &'static str) -> Self {
        // As much as the longest takes.
        Self { chain, expressions: Writer::with_capacity(512), comment: None }
    }

    fn expression(mut self, name: &str, data: impl FnOnce(&mut Writer)) -> Self {
        self.expressions.nest(attribute::LIST_ITEM, |w| {
            w.text(attribute::EXPRESSION_NAME, name);
            w.nest(attribute::EXPRESSION_DATA, data);
        });
        self
    }

    fn meta(self, key: Meta) -> Self {
        self.expression("meta", |w| {
            w.be32(1, REGISTER);
            w.be32(2, key as u32);
        })
    }

    /// Loads bytes of a header: 0 the link's, 1 the network's, 2 the transport's.
    fn payload(self, header: u32, offset: u32, length: u32) -> Self {
        self.payload_into(REGISTER, header, offset, length)
    }

    fn payload_into(self, register: u32, header: u32, offset: u32, length: u32) -> Self {
        self.expression("payload", |w| {
            w.be32(1, register);
            w.be32(2, header);
            w.be32(3, offset);
            w.be32(4, length);
        })
    }

    /// Compares: 0 equal, 1 not equal, 3 at most, 5 at least.
    fn compare(self, operation: u32, value: &[u8]) -> Self {
        self.expression("cmp", |w| {
            w.be32(1, REGISTER);
            w.be32(2, operation);
            w.nest(3, |w| w.attribute(attribute::DATA_VALUE, value));
        })
    }

    /// Leaves only these bits of what was loaded; four bytes at most.
    fn masked(self, bits: &[u8]) -> Self {
        self.expression("bitwise", |w| {
            w.be32(1, REGISTER);
            w.be32(2, REGISTER);
            w.be32(3, u32::try_from(bits.len()).unwrap_or(4));
            w.nest(4, |w| w.attribute(attribute::DATA_VALUE, bits));
            w.nest(5, |w| w.attribute(attribute::DATA_VALUE, [0; 4].get(..bits.len()).unwrap_or_default()));
        })
    }

    fn look_up(self, set: Set, present: bool) -> Self {
        self.expression("lookup", |w| {
            w.text(1, set.name());
            w.be32(2, REGISTER);
            if !present {
                w.be32(5, 1); // NFT_LOOKUP_F_INV
            }
        })
    }

    /// What was loaded is the name of a customers' interface. Where there is but one, to compare is quicker than to look up.
    fn customers(self, only: Option<&InterfaceName>) -> Self {
        match only {
            Some(name) => self.compare(0, name),
            None => self.look_up(Set::Lan, true),
        }
    }

    /// Came by a customers' interface, of which there may be `only` one.
    #[must_use]
    pub fn by_customers(self, only: Option<&InterfaceName>) -> Self {
        self.meta(Meta::InputInterface).customers(only)
    }

    /// Leaves by a customers' interface, of which there may be `only` one.
    #[must_use]
    pub fn towards_customers(self, only: Option<&InterfaceName>) -> Self {
        self.meta(Meta::OutputInterface).customers(only)
    }

    /// Loads the sender's Ethernet address; there is none on other hardware.
    fn sender(self) -> Self {
        // ARPHRD_ETHER; 16 bits in the machine's order
        self.meta(Meta::InputHardware).compare(0, &1u16.to_ne_bytes()).payload(0, 6, 6)
    }

    /// The sending device is one of the set, or none of it.
    #[must_use]
    pub fn sender_in(self, set: Set, yes: bool) -> Self {
        self.sender().look_up(set, yes)
    }

    /// Loads the sender's Ethernet address and the IP address that it says it has, as one key.
    fn sender_and_address(self, set: Set) -> Self {
        let (protocol, offset, length) = if set.key() == KeyType::ETHER_IPV4 { (2, 12, 4) } else { (10, 8, 16) };
        let ethernet = self.meta(Meta::InputHardware).compare(0, &1u16.to_ne_bytes()); // ARPHRD_ETHER
        let versioned = ethernet.meta(Meta::Protocol).compare(0, &[protocol]);
        versioned.payload(0, 6, 6).payload_into(BEHIND_SENDER, 1, offset, length)
    }

    /// The sending device and its address are in the set together.
    #[must_use]
    pub fn pair_in(self, set: Set) -> Self {
        self.sender_and_address(set).look_up(set, true)
    }

    /// The sending device has a quota with something left, its address is known for its own, and it has a counter. Quota
    /// and address are one look-up. The counter is found by the first part of the same key.
    #[must_use]
    pub fn pair_accounted(self, quota: Set) -> Self {
        self.sender_and_address(quota).object(quota).object(Set::UpCounter)
    }

    /// The map has no element under zero; any more, where it had one.
    #[must_use]
    pub fn without(self, set: Set) -> Self {
        let zero = self.expression("immediate", |w| {
            w.be32(1, REGISTER);
            w.nest(2, |w| w.attribute(attribute::DATA_VALUE, &[0; 4]));
        });
        zero.look_up(set, false)
    }

    fn address(self, side: Side, set: Set) -> Self {
        let (protocol, source, length) = match set.key().1 {
            4 => (2, 12, 4),  // NFPROTO_IPV4
            _ => (10, 8, 16), // NFPROTO_IPV6
        };
        let offset = match side {
            Side::Source => source,
            Side::Destination => source + length,
        };
        self.meta(Meta::Protocol).compare(0, &[protocol]).payload(1, offset, length)
    }

    /// The address is in the set.
    #[must_use]
    pub fn address_in(self, side: Side, set: Set) -> Self {
        self.address(side, set).look_up(set, true)
    }

    /// The sending device has a quota with something left, and a counter. The order is what matters: what the quota
    /// refuses must not be counted.
    #[must_use]
    pub fn sender_accounted(self) -> Self {
        self.sender().object(Set::UpQuota).object(Set::UpCounter)
    }

    /// The same for the address that the packet goes to.
    #[must_use]
    pub fn destination_accounted(self, quota: Set, counter: Set) -> Self {
        self.address(Side::Destination, quota).object(quota).object(counter)
    }

    /// Is TCP and belongs to a connection that was begun before: it has no SYN, which begins one and answers to that.
    #[must_use]
    pub fn carries_on(self) -> Self {
        const SYN: u8 = 0x02;
        self.transport(Transport::Tcp).payload(2, 13, 1).masked(&[SYN]).compare(0, &[0])
    }

    /// Not more often than so many times a second, and twice that at once.
    #[must_use]
    pub fn at_most_a_second(self, times: u32) -> Self {
        let limit = Limit { rate: u64::from(times), seconds: 1, burst: times.saturating_mul(2), bytes: false };
        self.expression("limit", |w| limit.write(w, false))
    }

    /// Puts what was loaded into the set, where the kernel has room, or renews it there. With a limit the packet is one that
    /// is beyond it, or is not; one that found no room is neither.
    fn grow(self, set: Set, limit: Option<(Limit, bool)>) -> Self {
        self.expression("dynset", |w| {
            w.text(1, set.name());
            w.be32(3, 1); // NFT_DYNSET_OP_UPDATE
            w.be32(4, REGISTER);
            if let Some((limit, beyond)) = limit {
                w.nest(7, |w| {
                    w.text(attribute::EXPRESSION_NAME, "limit");
                    w.nest(attribute::EXPRESSION_DATA, |w| limit.write(w, beyond));
                });
            }
        })
    }

    /// The sending device is beyond its limit, which the set keeps.
    #[must_use]
    pub fn sender_beyond(self, set: Set, limit: Limit) -> Self {
        self.sender().grow(set, Some((limit, true)))
    }

    /// The sending device is within its limit, which the set keeps.
    #[must_use]
    pub fn sender_within(self, set: Set, limit: Limit) -> Self {
        self.sender().grow(set, Some((limit, false)))
    }

    /// The same for the address that the packet goes to.
    #[must_use]
    pub fn destination_beyond(self, set: Set, limit: Limit) -> Self {
        self.address(Side::Destination, set).grow(set, Some((limit, true)))
    }

    /// The sending device and its address are put into the set, which has room for them.
    #[must_use]
    pub fn pair_noted(self, set: Set) -> Self {
        self.sender_and_address(set).grow(set, None)
    }

    /// Beyond a limit that all such packets share.
    #[must_use]
    pub fn beyond(self, limit: Limit) -> Self {
        self.expression("limit", |w| limit.write(w, true))
    }

    /// Then the first bytes of it are told to who listens to the group, and the next rule is asked.
    #[must_use]
    pub fn log(self, group: u16, bytes: u32, prefix: &str) -> Request {
        self.expression("log", |w| {
            w.attribute(1, &group.to_be_bytes());
            if !prefix.is_empty() {
                w.text(2, prefix);
            }
            w.be32(3, bytes);
            w.attribute(4, &1u16.to_be_bytes()); // told at once, not when there are some more
        })
        .done()
    }

    /// Sets the packet's class to what the map leads to from what was loaded; the next rule is asked either way.
    fn mark(self, map: Set) -> Request {
        self.expression("lookup", |w| {
            w.text(1, map.name());
            w.be32(2, REGISTER);
            w.be32(3, REGISTER);
        })
        .expression("meta", |w| {
            w.be32(2, Meta::Priority as u32);
            w.be32(3, REGISTER);
        })
        .done()
    }

    /// Then the packet gets the class of the sending device's account, where it has one.
    #[must_use]
    pub fn mark_by_sender(self, map: Set) -> Request {
        self.sender().mark(map)
    }

    /// The same for the address that the packet goes to.
    #[must_use]
    pub fn mark_by_destination(self, map: Set) -> Request {
        self.address(Side::Destination, map).mark(map)
    }

    fn object(self, map: Set) -> Self {
        self.expression("objref", |w| {
            w.be32(3, REGISTER);
            w.text(4, map.name());
        })
    }

    /// Is of this protocol.
    #[must_use]
    pub fn transport(self, transport: Transport) -> Self {
        self.meta(Meta::Transport).compare(0, &[transport as u8])
    }

    /// Comes from this port of TCP or UDP.
    #[must_use]
    pub fn source_port(self, transport: Transport, port: u16) -> Self {
        self.transport(transport).payload(2, 0, 2).compare(0, &port.to_be_bytes())
    }

    /// Goes to this port of TCP or UDP.
    #[must_use]
    pub fn port(self, transport: Transport, port: u16) -> Self {
        self.transport(transport).payload(2, 2, 2).compare(0, &port.to_be_bytes())
    }

    /// Is an ICMP message of a type between two, both included.
    #[must_use]
    pub fn icmp(self, transport: Transport, first: u8, last: u8) -> Self {
        let protocol = if transport == Transport::Icmp { 2 } else { 10 };
        let loaded = self.meta(Meta::Protocol).compare(0, &[protocol]).transport(transport).payload(2, 0, 1);
        if first == last { loaded.compare(0, &[first]) } else { loaded.compare(5, &[first]).compare(3, &[last]) }
    }

    /// What connection tracking says of the packet's connection is one of these bits, or none.
    fn state(self, bits: u32, yes: bool) -> Self {
        self.expression("ct", |w| {
            w.be32(1, REGISTER);
            w.be32(2, 0); // NFT_CT_STATE
        })
        .masked(&bits.to_ne_bytes()) // in the machine's order
        .compare(u32::from(yes), &0u32.to_ne_bytes())
    }

    /// Belongs to a connection that exists (`ct state established,related`), or does not.
    #[must_use]
    pub fn established(self, yes: bool) -> Self {
        self.state(2 | 4, yes) // NF_CT_STATE_BIT of ESTABLISHED and RELATED
    }

    /// May be the first packet of its connection (`ct state related,new`).
    #[must_use]
    pub fn first(self) -> Self {
        self.state(4 | 8, true) // NF_CT_STATE_BIT of RELATED and NEW
    }

    /// Then its connection is one that expects others, by the object of this name; the next rule is asked.
    #[must_use]
    pub fn expecting(self, object: &str) -> Request {
        self.expression("objref", |w| {
            w.be32(1, OBJECT_EXPECTATION);
            w.text(2, object);
        })
        .done()
    }

    /// Answers what the other side began.
    #[must_use]
    pub fn reply(self) -> Self {
        self.expression("ct", |w| {
            w.be32(1, REGISTER);
            w.be32(2, 1); // NFT_CT_DIRECTION
        })
        .compare(0, &[1]) // IP_CT_DIR_REPLY
    }

    fn verdict(self, code: i32, chain: Option<&str>) -> Request {
        self.expression("immediate", |w| {
            w.be32(1, VERDICT);
            w.nest(2, |w| {
                w.nest(attribute::DATA_VERDICT, |w| {
                    w.be32(attribute::VERDICT_CODE, code.cast_unsigned());
                    if let Some(chain) = chain {
                        w.text(attribute::VERDICT_CHAIN, chain);
                    }
                });
            });
        })
        .done()
    }

    /// Then it passes this base chain.
    #[must_use]
    pub fn accept(self) -> Request {
        self.verdict(1, None)
    }

    /// Then it is gone without a word.
    #[must_use]
    pub fn silently_drop(self) -> Request {
        self.verdict(0, None)
    }

    /// Then the other chain is asked, and the next rule if that one does not decide.
    #[must_use]
    pub fn jump(self, chain: &str) -> Request {
        self.verdict(-3, Some(chain))
    }

    /// Then the other chain is asked, and no further rule of this one.
    #[must_use]
    pub fn go_to(self, chain: &str) -> Request {
        self.verdict(-4, Some(chain))
    }

    /// Then no further rule of this chain is asked.
    #[must_use]
    pub fn back(self) -> Request {
        self.verdict(-5, None)
    }

    /// Then its sender gets a TCP reset.
    #[must_use]
    pub fn reset(self) -> Request {
        self.expression("reject", |w| {
            w.be32(1, 1); // NFT_REJECT_TCP_RST
            w.attribute(2, &[0]);
        })
        .done()
    }

    /// Then its sender gets an ICMP "administratively prohibited", of either IP.
    #[must_use]
    pub fn prohibit(self) -> Request {
        self.expression("reject", |w| {
            w.be32(1, 2); // NFT_REJECT_ICMPX_UNREACH
            w.attribute(2, &[3]); // NFT_REJECT_ICMPX_ADMIN_PROHIBITED
        })
        .done()
    }

    /// Then it goes to the router itself, to another port where one is given.
    #[must_use]
    pub fn redirect(self, port: Option<u16>) -> Request {
        match port {
            None => self.expression("redir", |_| {}).done(),
            Some(port) => self
                .expression("immediate", |w| {
                    w.be32(1, REGISTER);
                    w.nest(2, |w| w.attribute(attribute::DATA_VALUE, &port.to_be_bytes()));
                })
                .expression("redir", |w| w.be32(1, REGISTER))
                .done(),
        }
    }

    /// Gives it a comment, which `nft` shows.
    #[must_use]
    pub fn comment(mut self, comment: Option<&str>) -> Self {
        self.comment = comment.map(str::to_owned);
        self
    }

    fn done(self) -> Request {
        // Expressions are a few hundred bytes; a list that could outgrow its length does not occur.
        add_rule(self.chain, &self.expressions.finish().unwrap_or_default(), self.comment.as_deref())
    }
}
