//! What was made before and is still right: requests' heads as they were read, and answers' bytes, to be sent again as they are.

use super::PortalConfig;
use super::head::Head;
use super::reply::Reply;
use lango_core::package::Package;
use std::cell::Cell;
use std::rc::Rc;

/// Pages that are kept at most, and their bytes.
const PAGES: usize = 8;
const BYTES: usize = 64 * 1024;

/// Heads that are kept at most, and the bytes of each. Phones of one make ask for the same with the same bytes, all of them.
const HEADS: usize = 8;
const HEAD: usize = 1024;

/// All of them are of one state of the config, and forgotten with it.
#[derive(Default)]
pub struct Kept {
    /// The redirect for captive devices, which is what is answered most: plain, and over HTTPS.
    redirects: [Option<Redirects>; 2],
    /// Start pages; what was asked for last comes last.
    pages: Vec<Page>,
    /// Requests without a body; what came last comes last.
    heads: Vec<(Box<[u8]>, Rc<Asked>)>,
}

/// A head that was read.
#[derive(Debug)]
pub struct Asked {
    /// What it says.
    pub head: Head,
    /// In which language it is answered, and whether a link chose that: once that is known, with the config as it is.
    pub spoken: Cell<Option<(usize, bool)>>,
}

impl From<Head> for Asked {
    fn from(head: Head) -> Self {
        Self { head, spoken: Cell::default() }
    }
}

/// A start page that shows nothing of anybody's own, and all that it was made from besides the config: whoever sees it in the same way
/// while the same is sold sees the same.
struct Page {
    sight: Sight,
    packages: Vec<Package>,
    payments: bool,
    bytes: Rc<[u8]>,
}

/// In what way a start page is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// [`super::site::Visit::way`]
    pub way: (usize, bool, bool),
    /// Whether the packages are shown whatever else there is.
    pub all: bool,
    /// Whether the connection ends with it.
    pub close: bool,
    /// Whether who looks is a device of the LAN.
    pub known: bool,
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

    /// The request that was read before from the same bytes.
    pub fn head(&mut self, bytes: &[u8]) -> Option<Rc<Asked>> {
        let at = self.heads.iter().rposition(|(known, _)| **known == *bytes)?;
        self.heads[at..].rotate_left(1);
        self.heads.last().map(|(_, asked)| asked.clone())
    }

    /// Keeps what was read from these bytes, all of which were the request.
    pub fn keep_head(&mut self, bytes: &[u8], asked: &Rc<Asked>) {
        if bytes.len() > HEAD {
            return;
        }
        if self.heads.len() >= HEADS {
            self.heads.remove(0);
        }
        self.heads.push((bytes.into(), asked.clone()));
    }

    /// The page that was made for the same sight when the same was sold.
    pub fn page(&mut self, sight: Sight, packages: &[Package], payments: bool) -> Option<Rc<[u8]>> {
        let same = |page: &Page| page.sight == sight && page.payments == payments && page.packages == packages;
        let at = self.pages.iter().rposition(same)?;
        self.pages[at..].rotate_left(1);
        self.pages.last().map(|page| page.bytes.clone())
    }

    /// Keeps a page that is not kept yet. Nobody's own things may be on it: no session, no payment, no account.
    pub fn keep(&mut self, sight: Sight, packages: Vec<Package>, payments: bool, bytes: Rc<[u8]>) {
        if bytes.len() > BYTES {
            return;
        }
        while self.pages.len() >= PAGES || self.pages.iter().map(|page| page.bytes.len()).sum::<usize>() + bytes.len() > BYTES {
            self.pages.remove(0);
        }
        self.pages.push(Page { sight, packages, payments, bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_heads_are_kept_and_no_large_ones() {
        let mut kept = Kept::default();
        let asked = |path: &str| Rc::new(Asked::from(Head { path: path.to_owned(), ..Head::default() }));
        let found = |kept: &mut Kept, bytes: &[u8]| kept.head(bytes).map(|asked| asked.head.path.clone());
        assert_eq!(found(&mut kept, b"a"), None);
        kept.keep_head(b"a", &asked("/a"));
        for number in 1..HEADS {
            kept.keep_head(number.to_string().as_bytes(), &asked("/"));
            assert_eq!(found(&mut kept, b"a").as_deref(), Some("/a"), "what is asked for stays");
        }
        kept.keep_head(b"b", &asked("/b"));
        assert_eq!((found(&mut kept, b"1"), kept.heads.len()), (None, HEADS), "what nobody asked for went");
        assert_eq!((found(&mut kept, b"ab"), found(&mut kept, b"b").as_deref()), (None, Some("/b")));
        for (length, is_kept) in [(HEAD, true), (HEAD + 1, false)] {
            kept.keep_head(&vec![b'x'; length], &asked("/x"));
            assert_eq!(found(&mut kept, &vec![b'x'; length]).is_some(), is_kept);
        }
    }

    #[test]
    fn a_page_is_made_once_for_each_sight_and_few_are_kept() {
        let mut kept = Kept::default();
        // The page that is kept, or one of that length that is made, and whether it was.
        let page = |kept: &mut Kept, (place, payments): (usize, bool), length: usize| {
            let sight = Sight { way: (place, false, true), all: false, close: false, known: true };
            if let Some(bytes) = kept.page(sight, &[], payments) {
                return (bytes.len(), false);
            }
            kept.keep(sight, Vec::new(), payments, vec![0; length].into());
            (length, true)
        };
        assert_eq!(page(&mut kept, (0, true), 100), (100, true));
        assert_eq!(page(&mut kept, (0, true), 101), (100, false));
        assert_eq!(page(&mut kept, (0, false), 102), (102, true), "payments went offline");
        for place in 1..PAGES {
            assert_eq!(page(&mut kept, (place, true), 100), (100, true));
            assert_eq!(page(&mut kept, (0, true), 100), (100, false), "what is asked for stays");
        }
        assert_eq!(kept.pages.len(), PAGES);
        assert_eq!(page(&mut kept, (0, false), 103), (103, true), "what nobody asked for went");
        // Large ones leave room for fewer, and the largest is not kept at all.
        for place in 20..24 {
            assert_eq!(page(&mut kept, (place, true), 20_000), (20_000, true));
        }
        assert_eq!(kept.pages.len(), 3);
        for _ in 0..2 {
            assert_eq!(page(&mut kept, (30, true), BYTES + 1), (BYTES + 1, true));
        }
        assert_eq!(kept.pages.len(), 3);
    }
}
