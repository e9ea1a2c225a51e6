//! The gate's talk with the kernel: dumps and transactions over one socket.

use super::answer::{Element, Object, QuotaState, To, object_in, ours};
use super::names::{CounterName, QuotaName};
use super::nft::{GENERIC_HEADER, OBJECT_COUNTER, OBJECT_QUOTA, Request, SUBSYSTEM, attribute, comment_in, in_table, message};
use super::offload::{self, Flowtable};
use super::set::{Key, Set};
use super::view::{Pass, View};
use crate::clock;
use crate::netlink::codec::{ACK, HEADER, REQUEST, Writer};
use crate::netlink::socket::{Family, NetlinkError, Socket};
use lango_core::time::Monotonic;
use lango_core::tree::{BTreeMap, BTreeSet};
use nix::errno::Errno;
use std::net::IpAddr;

/// The largest transaction that is wanted, in bytes: more than the most requests take.
const LARGEST_TRANSACTION: usize = 1024 * 1024;

/// The sets whose elements are accounts' own.
const ACCOUNTS: [Set; 13] = [
    Set::UpQuota,
    Set::UpQuota4,
    Set::UpQuota6,
    Set::DownQuota4,
    Set::DownQuota6,
    Set::UpCounter,
    Set::DownCounter4,
    Set::DownCounter6,
    Set::UpClass,
    Set::DownClass4,
    Set::DownClass6,
    Set::Paid,
    Set::Held4,
];

/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// The batch's header: no family, version 0, nftables in network order.
const BATCH_HEADER: [u8; 4] = [0, 0, 0, 10];

/// What is there of our table, and which version made it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The table's comment; nothing where there is no table.
    pub frame: Option<String>,
    /// Comments of its rules.
    pub comments: BTreeSet<String>,
    /// How many rules it has.
    pub rules: usize,
}

/// Everything that the table holds of accounts: lists, in which nothing has memory of its own. What is needed for a moment only leaves no
/// holes then between the pieces of what stays.
#[derive(Debug)]
pub struct Accounts {
    /// By their keys: the kernel tells them as they lie in its hash tables, and maps that are filled in order have no gaps.
    elements: Vec<Element>,
    /// What the quotas say.
    pub quotas: Vec<QuotaState>,
    /// What the counters hold, in bytes.
    pub counted: Vec<(CounterName, u64)>,
}

impl Accounts {
    /// The same as maps.
    #[must_use]
    pub fn view(&self) -> View {
        let mut view = View::default();
        view.quotas = self.quotas.iter().map(|quota| (quota.name, quota.limit)).collect();
        for Element { key, to, until } in &self.elements {
            match (*to, *key) {
                (To::Quota(quota), key) => view.insert_pass(key, Pass { quota, end: (*until).into() }),
                (To::Counter(counter), key) => view.insert_count(key, counter),
                (To::Class(Some(class)), key) => drop(view.classes.insert(key, class)),
                (To::Nothing, Key::Mac(mac)) => drop(view.paid.insert(mac, (*until).into())),
                (To::Nothing, Key::Pair(mac, IpAddr::V4(address))) => drop(view.held.insert((mac, address))),
                _ => {}
            }
        }
        view.counters = self.counted.iter().map(|(name, _)| *name).collect();
        view
    }
}

/// The socket.
#[derive(Debug)]
pub struct Kernel {
    socket: Socket,
    largest: usize,
}

impl Kernel {
    /// Connects, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the system gives no socket.
    pub fn connect() -> Result<Self, NetlinkError> {
        let mut socket = Socket::open(Family::Netfilter)?;
        let largest = socket.reserve(LARGEST_TRANSACTION)?;
        Ok(Self { socket, largest })
    }

    /// The largest transaction that can be sent, in bytes.
    #[must_use]
    pub const fn largest(&self) -> usize {
        self.largest
    }

    /// Makes room for a transaction of so many bytes; gives how many it can have.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn room_for(&mut self, bytes: usize) -> Result<usize, NetlinkError> {
        self.socket.reserve(bytes)
    }

    /// Does all of these requests, or none of them.
    ///
    /// # Errors
    /// With each refusal and the index of the request that it is about.
    pub fn transact<'a>(&mut self, requests: impl ExactSizeIterator<Item = &'a Request> + Clone) -> Result<(), Refused> {
        let count = u32::try_from(requests.len()).map_err(|_| Refused::whole(crate::netlink::codec::TooLong.into()))?;
        if count == 0 {
            return Ok(());
        }
        let begin = self.socket.sequences(count + 2);
        let end = begin + count + 1;
        let room: usize = requests.clone().map(|request| request.attributes.len() + HEADER + GENERIC_HEADER).sum();
        let mut writer = Writer::with_capacity(room + 2 * (HEADER + BATCH_HEADER.len()));
        writer.message(BATCH_BEGIN, REQUEST, begin, |w| w.raw(&BATCH_HEADER));
        for (request, sequence) in requests.zip(begin + 1..) {
            let flags = if sequence == end - 1 { REQUEST | ACK } else { REQUEST };
            request.write(&mut writer, flags, sequence);
        }
        writer.message(BATCH_END, REQUEST, end, |w| w.raw(&BATCH_HEADER));
        let bytes = writer.finish().map_err(|e| Refused::whole(e.into()))?;
        self.socket.transact(&bytes, &(begin..=end), end - 1).map_err(|error| {
            let by_index = match &error {
                NetlinkError::Refused(refusals) => {
                    refusals.iter().map(|r| (r.sequence.checked_sub(begin + 1).map(|index| index as usize), r.errno)).collect()
                }
                _ => Vec::new(),
            };
            Refused { error, by_index }
        })
    }

    /// Looks for our table.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn find(&mut self) -> Result<Found, NetlinkError> {
        let mut found = Found::default();
        let read = self.socket.request(SUBSYSTEM | message::GET_TABLE, in_table, |m| {
            let userdata = m.attributes(GENERIC_HEADER)?.find(attribute::TABLE_USERDATA)?;
            found.frame = Some(userdata.and_then(|u| comment_in(u.value)).unwrap_or_default().to_owned());
            Ok(())
        });
        match read {
            Ok(()) => {}
            Err(error) if error.is(Errno::ENOENT) => return Ok(found),
            Err(error) => return Err(error),
        }
        let rules = self.socket.dump(
            SUBSYSTEM | message::GET_RULE,
            in_table,
            || (0, BTreeSet::new()),
            |(count, comments), m| {
                if !ours(m)? {
                    return Ok(());
                }
                *count += 1;
                let userdata = m.attributes(GENERIC_HEADER)?.find(attribute::RULE_USERDATA)?;
                comments.extend(userdata.and_then(|u| comment_in(u.value)).map(str::to_owned));
                Ok(())
            },
        )?;
        (found.rules, found.comments) = rules;
        Ok(found)
    }

    /// The addresses that the table has, whatever version it is of, each with the counter that says whose it is; those that can be read.
    pub fn known_addresses(&mut self) -> Vec<(Key, Option<CounterName>)> {
        let sets = [Set::DownCounter4, Set::DownCounter6];
        let elements = sets.into_iter().flat_map(|set| self.elements(set).unwrap_or_default());
        elements.map(|Element { key, to, .. }| (key, if let To::Counter(counter) = to { counter } else { None })).collect()
    }

    /// The names of the chains of our table that packets enter by themselves.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn base_chains(&mut self) -> Result<Vec<String>, NetlinkError> {
        self.socket.dump(SUBSYSTEM | message::GET_CHAIN, in_table, Vec::new, |names, m| {
            let attributes = m.attributes(GENERIC_HEADER)?;
            if ours(m)? && attributes.clone().find(attribute::CHAIN_HOOK)?.is_some() {
                names.extend(attributes.find(attribute::CHAIN_NAME)?.and_then(|name| name.text()).map(str::to_owned));
            }
            Ok(())
        })
    }

    /// Everything that the table holds of accounts, and what its objects say.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn accounts(&mut self) -> Result<Accounts, NetlinkError> {
        let quotas = self.quotas()?;
        let counted = self.counters()?;
        // So large a piece is the kernel's own (`memory`), and what is not used of it is not in RAM.
        let mut elements = Vec::with_capacity(8_192);
        for set in ACCOUNTS {
            elements.append(&mut self.elements(set)?);
        }
        elements.sort_unstable_by_key(|element| element.key);
        Ok(Accounts { elements, quotas, counted })
    }

    /// The flowtables that take packets from any interface, whosever they are.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn flowtables(&mut self) -> Result<BTreeSet<Flowtable>, NetlinkError> {
        self.socket.dump(offload::GET, offload::write_question, BTreeSet::new, |found, m| {
            found.extend(Some(offload::read(m)?).filter(|flowtable| !flowtable.devices.is_empty()));
            Ok(())
        })
    }

    /// The walled garden's addresses, and when they end.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn garden(&mut self) -> Result<BTreeMap<IpAddr, Option<Monotonic>>, NetlinkError> {
        let mut garden = BTreeMap::new();
        for set in [Set::Garden4, Set::Garden6] {
            garden.extend(self.elements(set)?.iter().filter_map(|element| match element.key {
                Key::Address(address) => Some((address, element.until)),
                Key::Mac(_) | Key::Pair(..) => None,
            }));
        }
        Ok(garden)
    }

    /// All our quotas.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn quotas(&mut self) -> Result<Vec<QuotaState>, NetlinkError> {
        self.objects(OBJECT_QUOTA, Vec::new, |found, object| {
            if let Object::Quota(quota) = object {
                found.push(quota);
            }
        })
    }

    /// All our counters, in bytes.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn counters(&mut self) -> Result<Vec<(CounterName, u64)>, NetlinkError> {
        self.objects(OBJECT_COUNTER, Vec::new, |found, object| {
            if let Object::Counter(name, bytes) = object {
                found.push((name, bytes));
            }
        })
    }

    /// One quota; nothing where it is not there.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn quota(&mut self, name: QuotaName) -> Result<Option<QuotaState>, NetlinkError> {
        Ok(self.object(&name.to_string(), OBJECT_QUOTA)?.and_then(|object| match object {
            Object::Quota(quota) => Some(quota),
            Object::Counter(..) => None,
        }))
    }

    /// One counter's bytes; nothing where it is not there.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn counter(&mut self, name: CounterName) -> Result<Option<u64>, NetlinkError> {
        Ok(self.object(&name.to_string(), OBJECT_COUNTER)?.and_then(|object| match object {
            Object::Counter(_, bytes) => Some(bytes),
            Object::Quota(_) => None,
        }))
    }

    fn objects<T>(&mut self, kind: u32, start: impl Fn() -> T, mut each: impl FnMut(&mut T, Object)) -> Result<T, NetlinkError> {
        let body = |w: &mut Writer| {
            in_table(w);
            w.be32(attribute::OBJECT_TYPE, kind);
        };
        self.socket.dump(SUBSYSTEM | message::GET_OBJECT, body, start, |found, m| {
            if let Some(object) = object_in(m)? {
                each(found, object);
            }
            Ok(())
        })
    }

    fn object(&mut self, name: &str, kind: u32) -> Result<Option<Object>, NetlinkError> {
        let mut found = None;
        let body = |w: &mut Writer| {
            in_table(w);
            w.text(attribute::OBJECT_NAME, name);
            w.be32(attribute::OBJECT_TYPE, kind);
        };
        let read = self.socket.request(SUBSYSTEM | message::GET_OBJECT, body, |m| {
            found = object_in(m)?;
            Ok(())
        });
        match read {
            Err(error) if !error.is(Errno::ENOENT) => Err(error),
            _ => Ok(found),
        }
    }

    fn elements(&mut self, set: Set) -> Result<Vec<Element>, NetlinkError> {
        let body = |w: &mut Writer| {
            in_table(w);
            w.text(attribute::ELEMENTS_SET, set.name());
        };
        self.socket.dump(SUBSYSTEM | message::GET_ELEMENT, body, Vec::new, |found, m| {
            let now = clock::monotonic();
            let Some(list) = m.attributes(GENERIC_HEADER)?.find(attribute::ELEMENTS)? else { return Ok(()) };
            for item in list.nested() {
                found.extend(Element::read(item?, set, now)?);
            }
            Ok(())
        })
    }
}

/// Why a transaction was not done.
#[derive(Debug)]
pub struct Refused {
    /// The error as a whole.
    pub error: NetlinkError,
    /// Which request was refused, by its index (nothing where it was the transaction itself), and why.
    pub by_index: Vec<(Option<usize>, Errno)>,
}

impl Refused {
    pub(super) fn whole(error: NetlinkError) -> Self {
        Self { error, by_index: Vec::new() }
    }
}
