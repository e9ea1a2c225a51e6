//! What the kernel sends over netlink. It is no enemy; but a message of a newer kernel is as good as one, and in a packet's log
//! there are bytes from the air.

use lango::gate::answer::{Element, object_in, ours};
use lango::gate::conntrack::message::{DELETE, Entry, OwnAddress};
use lango::gate::events::events_in;
use lango::gate::{Set, learn, offload};
use lango::neighbours::message;
use lango::netlink::codec::{Messages, REQUEST, Writer};
use lango_core::time::Monotonic;

pub(crate) fn netlink(bytes: &[u8]) {
    let mut seen = 0_usize;
    for item in Messages::new(bytes) {
        let Ok(item) = item else { break };
        seen += 1;
        for header in [0, 4, 8, 12, 16, 20] {
            if let Ok(attributes) = item.attributes(header) {
                for attribute in attributes.flatten() {
                    assert!(attribute.value.len() <= bytes.len());
                    attribute.nested().flatten().for_each(drop);
                }
            }
        }
        let _ = item.failure();
        let _ = message::read(&item);
        let _ = (ours(&item), object_in(&item), offload::read(&item), learn::sender(&item), OwnAddress::read(&item));
        if let Ok(Some(entry)) = Entry::read(&item) {
            let mut writer = Writer::new();
            writer.message(DELETE, REQUEST, 1, |writer| entry.write_deletion(writer));
            let deletion = writer.finish().expect("an entry that was read is short enough to be written");
            assert!(Messages::new(&deletion).all(|message| message.is_ok()), "a message that nobody can read");
        }
        for attribute in item.attributes(4).into_iter().flatten().flatten() {
            for set in Set::ALL {
                let _ = Element::read(attribute, set, Monotonic(1_000));
            }
        }
    }
    // Each message has a header, or the walk does not end.
    assert!(seen <= bytes.len() / 16);
    assert!(events_in(bytes).count() <= bytes.len(), "more events than bytes");
    let mut writer = Writer::new();
    writer.attribute(1, bytes);
    if let Ok(written) = writer.finish() {
        assert_eq!(written.len() % 4, 0, "what is written is padded");
    }
}
