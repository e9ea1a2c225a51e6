//! Who goes online because a server says so: a login, a device that is known by its address, one that comes back after a power cut,
//! and an account of this router that is used at others, too.

use super::{REMOTE, is_remote};
use crate::account::{Account, Clock, Purchase};
use crate::few::FewMap;
use crate::gate::{GateId, Traffic};
use crate::gateway::Gateway;
use crate::package::Limits;
use crate::radius::{
    AccessId, AccessOutcome, AccessRequest, Authorization, Credential, RadiusOrder, RadiusSession, SessionId, SessionState,
};
use crate::request::{Answer, AskId, Refusal};
use crate::step::Entropy;
use crate::time::{Monotonic, Now};
use crate::units::{Bytes, Mac, Millis, PackageId, Password, Seconds, Username};

/// Customers who wait for a server at once. Each keeps one of the portal's places (256): half of them stay for everybody else, however
/// slow the server is. Who comes then is told to try again in a moment.
const CUSTOMERS: usize = 128;

/// Devices that wait for a server at once, of which nobody looks at a page. They are asked for when they are seen again.
const DEVICES: usize = 1_024;

/// The adapter answers earlier: this is for a question that was lost with it.
const ANSWERED_WITHIN: Millis = Millis::from_seconds(12);

/// A device is asked for by its address this often at most.
const MAC_ASKED_EVERY: Millis = Millis::from_seconds(60);

/// So many such devices are remembered.
const MACS: usize = 2_048;

/// Whoever waits for a server.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) device: Mac,
    user: Username,
    credential: Credential,
    session: SessionId,
    why: Why,
    /// Whether what the server says is about all that was sold on the account, where it is one of this router: money that comes after
    /// the question is not in the answer, even if servers know of it by then.
    pub(super) of_all: bool,
    pub(super) until: Monotonic,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// A customer logs in.
    Login(AskId),
    /// The same, on an account of this router that is used at others, too.
    Roaming { ask: AskId, replace: bool },
    /// A device came, and may be known.
    Came,
    /// A device came back to this account after a power cut.
    Back(Username),
    /// A device that is online on this account was not on the Wi-Fi for a while: at another router, perhaps.
    Walked(Username),
}

impl Why {
    const fn is_a_customer(&self) -> bool {
        matches!(self, Self::Login(_) | Self::Roaming { .. })
    }
}

impl Gateway {
    /// A login, which is answered at once or when a server has answered.
    pub(in crate::gateway) fn log_in(&mut self, ask: AskId, device: Mac, username: Username, password: Password, replace: bool, now: Now) {
        let here = username.as_str().to_ascii_lowercase().parse().unwrap_or_else(|_| username.clone());
        let known = self.accounts.get(&here).is_some_and(|account| !is_remote(&account.username));
        let roams = self.settings.radius.as_ref().map(|radius| radius.roaming);
        let answer = match (roams, known) {
            (None, _) | (Some(false), true) => self.login(device, &username, &password, replace, now),
            (Some(true), true) => match self.may_roam(device, &here, &password, now) {
                true => {
                    match self.ask_server(Why::Roaming { ask, replace }, device, here.clone(), Credential::Password(password.clone()), now)
                    {
                        Ok(()) => return,
                        Err(_) => self.login(device, &here, &password, replace, now),
                    }
                }
                false => self.login(device, &username, &password, replace, now),
            },
            (Some(_), false) => match self.login_tries.check(device, now.monotonic) {
                Err(retry_after) => Answer::Refused(Refusal::TooManyRequests { retry_after }),
                Ok(()) => match self.ask_server(Why::Login(ask), device, username, Credential::Password(password), now) {
                    Ok(()) => return,
                    Err(refusal) => Answer::Refused(refusal),
                },
            },
        };
        self.step.replies.push((ask, answer));
    }

    /// Whether a server knows everything that was bought on the account, in the way in which it is used here, and it is the customer
    /// who asks: only then may what the server says take away what was used elsewhere. Where others here have all places no server needs to
    /// say so, and a device may be replaced.
    fn may_roam(&self, device: Mac, username: &Username, password: &Password, now: Now) -> bool {
        self.known_to_servers(username).is_some_and(|account| account.password.matches(password) && account.has_room_for(device))
            && self.login_tries.check(device, now.monotonic).is_ok()
    }

    /// The account, if a server can know all that is left of it: one purchase, and nothing untold.
    pub(super) fn known_to_servers(&self, username: &Username) -> Option<&Account> {
        self.accounts.get(username).filter(|account| account.purchases.len() == 1 && account.untold == 0)
    }

    /// Something was bought on the account.
    pub(in crate::gateway) fn bought_meanwhile(&mut self, username: &Username) {
        self.radius.asked.values_mut().filter(|asked| asked.user == *username).for_each(|asked| asked.of_all = false);
    }

    fn ask_server(&mut self, why: Why, device: Mac, user: Username, credential: Credential, now: Now) -> Result<(), Refusal> {
        if why.is_a_customer() && self.takes_the_place(&why, device, &user, &credential, now) {
            return Ok(());
        }
        let same_kind = |asked: &&Asked| asked.why.is_a_customer() == why.is_a_customer();
        let most = if why.is_a_customer() { CUSTOMERS } else { DEVICES };
        if self.radius.asked.values().filter(same_kind).count() >= most {
            return Err(Refusal::Crowded { retry_after: Seconds(2) });
        }
        let id = AccessId(self.radius.next_access);
        self.radius.next_access += 1;
        let session = self.radius.new_session_id();
        let address = self.neighbours.addresses_of(device).iter().copied().find(std::net::IpAddr::is_ipv4);
        let request = AccessRequest { id, session: session.clone(), device, address, user: user.clone(), credential: credential.clone() };
        self.step.radius.push(RadiusOrder::Access(request));
        let until = now.monotonic.after(ANSWERED_WITHIN);
        let of_all = self.known_to_servers(&user).is_some();
        self.radius.asked.insert(id, Asked { device, user, credential, session, why, of_all, until });
        Ok(())
    }

    /// A device has one login under way: the page that is shown is the newer one. The same tried again waits for the same answer, and
    /// gives back that it does; another password in its place is a try more.
    fn takes_the_place(&mut self, why: &Why, device: Mac, user: &Username, credential: &Credential, now: Now) -> bool {
        let of_device = |asked: &Asked| asked.why.is_a_customer() && asked.device == device;
        let Some(id) = self.radius.asked.iter().find(|(_, asked)| of_device(asked)).map(|(id, _)| *id) else { return false };
        let Some(mut asked) = self.radius.asked.remove(&id) else { return false };
        let older = std::mem::replace(&mut asked.why, why.clone());
        if let Why::Login(ask) | Why::Roaming { ask, .. } = older {
            // Ten seconds: the portal's script comes again by itself below that (`login` in web/login.js), and two pages with two
            // passwords would push each other out for ever.
            self.step.replies.push((ask, Answer::Refused(Refusal::TooManyRequests { retry_after: Seconds(10) })));
        }
        let same = asked.user == *user && asked.credential == *credential;
        if same {
            self.radius.asked.insert(id, asked);
        } else {
            self.login_tries.count(device, now.monotonic);
        }
        same
    }

    /// A device is there that is not online, and waits for nothing: a server may know it by its address.
    pub(in crate::gateway) fn device_came(&mut self, device: Mac, now: Now) {
        let Some(settings) = self.settings.radius.as_ref().filter(|settings| settings.mac_login) else { return };
        let Ok(user) = settings.station_id.write(device).parse() else { return };
        self.ask_now_and_then(Why::Came, device, user, Credential::Mac, now);
    }

    /// Asks for a device of which nobody looks at a page, not too often.
    pub(super) fn ask_now_and_then(&mut self, why: Why, device: Mac, user: Username, credential: Credential, now: Now) {
        let recently = |at: &Monotonic| now.monotonic.since(*at) < MAC_ASKED_EVERY;
        if self.radius.mac_asked.get(&device).is_some_and(recently) {
            return;
        }
        if self.radius.mac_asked.len() >= MACS {
            self.radius.mac_asked.retain(|_, at| recently(at));
        }
        if self.radius.mac_asked.len() < MACS && self.ask_server(why, device, user, credential, now).is_ok() {
            self.radius.mac_asked.insert(device, now.monotonic);
        }
    }

    /// A device is seen again that was online on a server's word when the power went. Gives back whether that is so.
    pub(in crate::gateway) fn back_on_remote(&mut self, account: &Username, device: Mac, now: Now) -> bool {
        let Some(waiting) = self.radius.waiting.get(account).and_then(|id| self.radius.sessions.get(id)) else { return is_remote(account) };
        let (user, credential) = (waiting.user.clone(), waiting.credential.clone());
        let asked = |asked: &Asked| asked.why == Why::Back(account.clone());
        if let (Some(credential), false) = (credential, self.radius.asked.values().any(asked)) {
            // Refused for now, it is tried again when the device is seen again.
            let _too_many = self.ask_server(Why::Back(account.clone()), device, user, credential, now);
        }
        true
    }

    /// The session that waits on this account is over for good.
    pub(in crate::gateway) fn forget_waiting(&mut self, account: &Username) {
        if let Some(id) = self.radius.waiting.get(account).cloned() {
            self.forget_session(&id);
        }
    }

    pub(super) fn access_answered(&mut self, id: AccessId, outcome: AccessOutcome, now: Now, entropy: &Entropy) {
        let Some(asked) = self.radius.asked.remove(&id) else { return };
        let (device, why) = (asked.device, asked.why.clone());
        let answer = match (outcome, &why) {
            (AccessOutcome::Accept(granted), Why::Roaming { replace, .. }) => self.roam(asked, *replace, *granted, now),
            (outcome, Why::Walked(account)) => return self.walked(&asked, account, outcome, now),
            // It paid meanwhile, or logged in.
            (_, Why::Back(account)) if self.account_online(device).is_some_and(|online| online != *account) => {
                self.forget_waiting(account);
                return;
            }
            (AccessOutcome::Accept(granted), Why::Back(account)) => {
                self.forget_waiting(account);
                self.let_in(asked, *granted, now, entropy)
            }
            (AccessOutcome::Accept(_), Why::Came) if self.account_online(device).is_some() => return, // it paid meanwhile
            (AccessOutcome::Accept(granted), Why::Login(_) | Why::Came) => self.let_in(asked, *granted, now, entropy),
            // Words are its word on the account, if it has heard of everything.
            (AccessOutcome::Reject { message: Some(words) }, Why::Roaming { .. }) if asked.of_all && !self.ended_unheard(&asked.user) => {
                Answer::Denied(words)
            }
            // It knows nothing of what was bought here, or not all, and here the password was right.
            (AccessOutcome::Reject { .. }, Why::Roaming { replace, .. }) => self.login_here(&asked, *replace, now),
            (AccessOutcome::Reject { message }, Why::Login(_)) => {
                self.login_tries.count(device, now.monotonic);
                self.log(format!("radius: the server refused a login of {device}"));
                message.map_or(Answer::Refused(Refusal::BadCredentials), Answer::Denied)
            }
            (AccessOutcome::Reject { .. }, Why::Back(account)) => {
                self.forget_waiting(account);
                self.log(format!("radius: the server did not let {device} online again"));
                return;
            }
            (AccessOutcome::NoAnswer, Why::Login(_)) => Answer::Refused(Refusal::LoginOffline),
            // What was bought here is served without any server.
            (AccessOutcome::NoAnswer, Why::Roaming { replace, .. }) => self.login_here(&asked, *replace, now),
            (AccessOutcome::NoAnswer, Why::Back(account)) => return self.go_on_without_server(account, asked.session, now),
            (AccessOutcome::Reject { .. } | AccessOutcome::NoAnswer, Why::Came) => return,
        };
        match why {
            Why::Login(ask) | Why::Roaming { ask, .. } => self.step.replies.push((ask, answer)),
            Why::Came | Why::Back(_) | Why::Walked(_) => {}
        }
    }

    fn login_here(&mut self, asked: &Asked, replace: bool, now: Now) -> Answer {
        match &asked.credential {
            Credential::Password(password) => self.login(asked.device, &asked.user, password, replace, now),
            Credential::Mac => Answer::Refused(Refusal::BadCredentials),
        }
    }

    /// What a server lets in is an account that lives as long as its session.
    fn let_in(&mut self, asked: Asked, granted: Authorization, now: Now, entropy: &Entropy) -> Answer {
        if granted.ends_at.is_some() && now.wall.is_none() {
            self.log("radius: a server says at what time a session ends, and the router's clock is not set".to_owned());
            return Answer::Refused(Refusal::LoginOffline);
        }
        if let Some(unknown) = granted.package.as_ref().filter(|id| self.settings.package(id).is_none()) {
            self.log(format!(
                "radius: a server names the package {unknown} (Filter-Id), which is not sold here: what else it says counts alone"
            ));
        }
        let limits = self.limits_of(&granted, now);
        if limits.time.is_some_and(Millis::is_zero) || limits.data.is_some_and(Bytes::is_zero) {
            return Answer::Refused(Refusal::Expired);
        }
        let Ok(account) = format!("{REMOTE}{}", asked.session.0).parse::<Username>() else { return Answer::Refused(Refusal::NotStored) };
        let Some((package, password)) = self.remote_package(&granted).zip(crate::credentials::password(entropy)) else {
            return Answer::Refused(Refusal::NotStored);
        };
        self.accounts.insert(Account {
            username: account.clone(),
            password,
            id: GateId(self.counters.next_gate),
            phone: None,
            package: package.clone(),
            purchases: [Purchase { package, limits }].into(),
            taken_away: 0,
            clock: Clock::stopped(limits.time),
            traffic: FewMap::new(),
            data_start: Bytes::ZERO,
            online: FewMap::new(),
            idle_since: None,
            untold: u8::MAX,
            counted_in: None,
        });
        self.counters.next_gate = self.counters.next_gate.wrapping_add(1).max(1);
        self.step.counters = true;
        self.prepare(&asked, account.clone(), Some(asked.credential.clone()), granted, now);
        self.open_session(&account, asked.device, now);
        self.session_of(asked.device, now).map_or(Answer::Refused(Refusal::Expired), Answer::Session)
    }

    /// The package that a server named, for people; one that nobody sells where it named none.
    fn remote_package(&self, granted: &Authorization) -> Option<PackageId> {
        let named = granted.package.as_ref().and_then(|id| self.settings.package(id)).map(|package| package.id.clone());
        named.or_else(|| "radius".parse().ok())
    }

    /// What a server grants, from now on: what it says itself, and for the rest what the package says that it names.
    pub(super) fn limits_of(&self, granted: &Authorization, now: Now) -> Limits {
        let package = granted.package.as_ref().and_then(|id| self.settings.package(id)).map(|package| package.limits);
        let until = granted.ends_at.zip(now.wall).map(|(ends, now)| Millis(ends.0.saturating_sub(now.0)));
        let time = [granted.time.map(|time| Millis::from_seconds(time.0)), until].into_iter().flatten().min();
        let both = granted.up.zip(granted.down).map(|(up, down)| up.plus(down));
        let data = [granted.total, both].into_iter().flatten().min();
        Limits {
            time: time.or(package.and_then(|limits| limits.time)),
            data: data.or(package.and_then(|limits| limits.data)),
            down: granted.down_speed.or(package.and_then(|limits| limits.down)),
            up: granted.up_speed.or(package.and_then(|limits| limits.up)),
            devices: 1,
        }
    }

    /// What a server said of the session that is about to begin.
    fn prepare(&mut self, asked: &Asked, account: Username, credential: Option<Credential>, granted: Authorization, now: Now) {
        self.radius.prepared = Some(RadiusSession {
            id: asked.session.clone(),
            device: asked.device,
            account,
            user: granted.user.unwrap_or_else(|| asked.user.clone()),
            credential,
            class: granted.class,
            interim: granted.interim,
            idle: granted.idle,
            up: granted.up,
            down: granted.down,
            boot: self.boot.clone(),
            since: now.monotonic,
            base: Traffic::default(),
            state: SessionState::Open,
        });
    }

    /// A login on an account of this router, with what a server says is left of it: other routers used some, perhaps.
    fn roam(&mut self, asked: Asked, replace: bool, granted: Authorization, now: Now) -> Answer {
        let Credential::Password(password) = &asked.credential else { return Answer::Refused(Refusal::BadCredentials) };
        let password = password.clone();
        if self.may_roam(asked.device, &asked.user, &password, now) && asked.of_all {
            self.take_what_others_used(&asked.user, &granted, now);
        }
        self.prepare(&asked, asked.user.clone(), None, granted, now);
        let answer = self.login(asked.device, &asked.user, &password, replace, now);
        self.radius.prepared = None;
        answer
    }

    /// No server answers: what was left when the power went was granted, and is served.
    fn go_on_without_server(&mut self, account: &Username, session: SessionId, now: Now) {
        let Some(id) = self.radius.waiting.remove(account) else { return };
        let Some(before) = self.radius.sessions.remove(&id) else { return };
        self.step.radius_sessions.insert(id);
        let device = before.device;
        let used = self.used_by(&before);
        if !self.accounts.get(account).is_some_and(|account| account.open(now.monotonic)) {
            self.radius.sessions.insert(before.id.clone(), before.clone());
            return self.forget_session(&before.id);
        }
        self.radius.prepared = Some(RadiusSession {
            id: session,
            boot: self.boot.clone(),
            since: now.monotonic,
            state: SessionState::Open,
            up: before.up.map(|up| up.minus(used.up)),
            down: before.down.map(|down| down.minus(used.down)),
            ..before
        });
        self.open_session(account, device, now);
        self.log(format!("radius: no server answers; {device} goes on with what it had"));
    }

    pub(super) fn give_up_asking(&mut self, now: Now) {
        let over: Vec<AccessId> = self.radius.asked.iter().filter(|(_, asked)| asked.until <= now.monotonic).map(|(id, _)| *id).collect();
        for id in over {
            self.access_answered(id, AccessOutcome::NoAnswer, now, &Entropy([0; 32]));
        }
    }
}
