//! Answers' bytes that were made before and are still right, to be sent again as they are.

use super::PortalConfig;
use super::reply::Reply;
use std::rc::Rc;

/// All of them are of one state of the config, and forgotten with it.
#[derive(Default)]
pub struct Kept {
    /// The redirect for captive devices, which is what is answered most: plain, and over HTTPS.
    redirects: [Option<Redirects>; 2],
}

/// By whether only the head is sent, and whether the connection ends.
type Redirects = [[Rc<[u8]>; 2]; 2];

impl Kept {
    /// The answer to whoever asks for another host.
    pub fn redirect(&mut self, config: &PortalConfig, secure: bool, bodiless: bool, close: bool) -> Rc<[u8]> {
        let [plain, by_https] = &mut self.redirects;
        let redirects = if secure { by_https } else { plain }.get_or_insert_with(|| {
            let reply = Reply::redirect(302, config.url_of(secure));
            let whole = [false, true].map(|close| reply.wire(close).into());
            let heads = [false, true].map(|close| reply.head_wire(close).into());
            [whole, heads]
        });
        redirects[usize::from(bodiless)][usize::from(close)].clone()
    }
}
