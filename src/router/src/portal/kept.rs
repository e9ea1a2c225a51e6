//! Answers' bytes that were made before and are still right, to be sent again as they are.

use super::PortalConfig;
use super::reply::Reply;
use lango_core::request::StartView;
use std::rc::Rc;

/// Pages that are kept at most, and their bytes.
const PAGES: usize = 8;
const BYTES: usize = 64 * 1024;

/// All of them are of one state of the config, and forgotten with it.
#[derive(Default)]
pub struct Kept {
    /// The redirect for captive devices, which is what is answered most: plain, and over HTTPS.
    redirects: [Option<Redirects>; 2],
    /// Start pages; what was asked for last comes last.
    pages: Vec<(Sight, Rc<[u8]>)>,
}

/// All that a start page is made from, besides the config. Two whose sights are equal see the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// [`super::site::Visit::way`]
    pub way: (usize, bool, bool),
    /// Whether the packages are shown whatever else there is.
    pub all: bool,
    /// Whether the connection ends with it.
    pub close: bool,
    /// Whether who looks is a device of the LAN.
    pub known: bool,
    /// What the core says. Nobody's own things are kept: no session, no payment, no account.
    pub start: StartView,
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

    /// The page that was made for the same sight, or the one that is made now.
    pub fn page(&mut self, sight: Sight, make: impl FnOnce() -> Rc<[u8]>) -> Rc<[u8]> {
        let known = self.pages.iter().position(|(other, _)| *other == sight);
        let (sight, page) = known.map_or_else(|| (sight, make()), |at| self.pages.remove(at));
        if page.len() > BYTES {
            return page;
        }
        let bytes = |pages: &[(Sight, Rc<[u8]>)]| pages.iter().map(|(_, page)| page.len()).sum::<usize>();
        while self.pages.len() >= PAGES || bytes(&self.pages) + page.len() > BYTES {
            self.pages.remove(0);
        }
        self.pages.push((sight, page.clone()));
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(place: usize, payments: bool) -> Sight {
        let start = StartView { payments, ..StartView::default() };
        Sight { way: (place, false, true), all: false, close: false, known: true, start }
    }

    #[test]
    fn a_page_is_made_once_for_each_sight_and_few_are_kept() {
        let mut kept = Kept::default();
        let mut made = 0;
        let mut page = |kept: &mut Kept, sight: Sight, length: usize| {
            let before = made;
            let bytes = kept.page(sight, || {
                made += 1;
                vec![0; length].into()
            });
            (bytes.len(), made > before)
        };
        assert_eq!(page(&mut kept, sight(0, true), 100), (100, true));
        assert_eq!(page(&mut kept, sight(0, true), 101), (100, false));
        assert_eq!(page(&mut kept, sight(0, false), 102), (102, true), "payments went offline");
        for place in 1..PAGES {
            assert_eq!(page(&mut kept, sight(place, true), 100), (100, true));
            assert_eq!(page(&mut kept, sight(0, true), 100), (100, false), "what is asked for stays");
        }
        assert_eq!(kept.pages.len(), PAGES);
        assert_eq!(page(&mut kept, sight(0, false), 103), (103, true), "what nobody asked for went");
        // Large ones leave room for fewer, and the largest is not kept at all.
        for place in 20..24 {
            assert_eq!(page(&mut kept, sight(place, true), 20_000), (20_000, true));
        }
        assert_eq!(kept.pages.len(), 3);
        for _ in 0..2 {
            assert_eq!(page(&mut kept, sight(30, true), BYTES + 1), (BYTES + 1, true));
        }
        assert_eq!(kept.pages.len(), 3);
    }
}
