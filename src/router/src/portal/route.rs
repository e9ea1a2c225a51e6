//! What is asked of the portal's own host. Pure.

/// What a path and a method ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// A page.
    Page(Page),
    /// A form that a page sends.
    Form(Form),
    /// A call of the contract.
    Call(Call),
    /// The operator's logo.
    Logo {
        /// As the path names it.
        hash: String,
    },
    /// A path of ours with a method that it does not know; these it knows.
    WrongMethod(&'static str),
    /// No such call.
    NoCall,
    /// Any other path: to the start.
    Elsewhere,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// The packages, and what is left where the device is online.
    Home,
    /// The form that asks for the phone number.
    Buy {
        /// The package as the path names it.
        package: String,
    },
    /// Where a payment stands.
    Payment {
        /// Its id as the path names it.
        order: String,
    },
    /// The forms that ask for credentials, and for a voucher's code.
    Login,
    /// The form that asks for a voucher's code, which is on the login page.
    Voucher,
    /// The form that asks for a receipt.
    Receipt,
    /// What is left, and who is online on it.
    Account,
    /// What customers accept by paying.
    Terms,
}

/// What a form asks for; each answers with a redirect to a page, or with a page that says why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// To pay.
    Buy {
        /// The package as the path names it.
        package: String,
    },
    /// To pay for the same again, from the same number.
    Again {
        /// The payment that failed.
        order: String,
    },
    /// To wait for a payment no longer, because its number was mistyped.
    GiveUp {
        /// The payment that waits.
        order: String,
    },
    /// To go online.
    Login,
    /// To go online with a receipt.
    Receipt,
    /// To go online with a voucher.
    Voucher,
    /// To go offline.
    Logout,
    /// To take another device of one's own account offline.
    LogoutOther,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `GET /api/packages`
    Packages,
    /// `POST /api/payments`
    Pay,
    /// `POST /api/payments/reclaim`
    Reclaim,
    /// `GET /api/payments/ID/status`
    Status {
        /// The id as the path names it.
        order: String,
    },
    /// `POST /api/payments/ID/give-up`
    GiveUp {
        /// The id as the path names it.
        order: String,
    },
    /// `GET /api/payments/ID/events`
    Events {
        /// The id as the path names it.
        order: String,
    },
    /// `POST /api/hotspot/login`
    Login,
    /// `POST /api/hotspot/logout`
    Logout,
    /// `POST /api/hotspot/check-session`
    CheckSession,
    /// `GET /api/hotspot/devices`
    Devices,
    /// `POST /api/hotspot/devices/logout`
    LogoutOther,
    /// `POST /api/vouchers/redeem`
    Redeem,
    /// `GET /captive-portal/api` (RFC 8908)
    Captive,
}

impl Route {
    /// Finds it. `HEAD` asks what `GET` asks.
    #[must_use]
    pub fn find(method: &str, path: &str) -> Self {
        const READ: &str = "GET, HEAD";
        const WRITE: &str = "POST";
        const BOTH: &str = "GET, HEAD, POST";
        let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        let (get, post, allowed) = match *segments.as_slice() {
            [""] => (Some(Self::Page(Page::Home)), None, READ),
            ["login"] => (Some(Self::Page(Page::Login)), Some(Self::Form(Form::Login)), BOTH),
            ["receipt"] => (Some(Self::Page(Page::Receipt)), Some(Self::Form(Form::Receipt)), BOTH),
            ["logout"] => (None, Some(Self::Form(Form::Logout)), WRITE),
            ["terms"] => (Some(Self::Page(Page::Terms)), None, READ),
            ["logo", hash] => (Some(Self::Logo { hash: hash.to_owned() }), None, READ),
            ["account"] => (Some(Self::Page(Page::Account)), None, READ),
            ["account", "logout"] => (None, Some(Self::Form(Form::LogoutOther)), WRITE),
            ["voucher"] => (Some(Self::Page(Page::Voucher)), Some(Self::Form(Form::Voucher)), BOTH),
            ["buy", package] => {
                let package = package.to_owned();
                (Some(Self::Page(Page::Buy { package: package.clone() })), Some(Self::Form(Form::Buy { package })), BOTH)
            }
            ["pay", order] => (Some(Self::Page(Page::Payment { order: order.to_owned() })), None, READ),
            ["pay", order, "again"] => (None, Some(Self::Form(Form::Again { order: order.to_owned() })), WRITE),
            ["pay", order, "wrong-number"] => (None, Some(Self::Form(Form::GiveUp { order: order.to_owned() })), WRITE),
            ["api", "packages"] => (Some(Self::Call(Call::Packages)), None, READ),
            ["api", "payments"] => (None, Some(Self::Call(Call::Pay)), WRITE),
            ["api", "payments", "reclaim"] => (None, Some(Self::Call(Call::Reclaim)), WRITE),
            ["api", "payments", order, "status"] => (Some(Self::Call(Call::Status { order: order.to_owned() })), None, READ),
            ["api", "payments", order, "give-up"] => (None, Some(Self::Call(Call::GiveUp { order: order.to_owned() })), WRITE),
            ["api", "payments", order, "events"] => (Some(Self::Call(Call::Events { order: order.to_owned() })), None, READ),
            ["api", "hotspot", "login"] => (None, Some(Self::Call(Call::Login)), WRITE),
            ["api", "hotspot", "logout"] => (None, Some(Self::Call(Call::Logout)), WRITE),
            ["api", "hotspot", "check-session"] => (None, Some(Self::Call(Call::CheckSession)), WRITE),
            ["api", "hotspot", "devices"] => (Some(Self::Call(Call::Devices)), None, READ),
            ["api", "hotspot", "devices", "logout"] => (None, Some(Self::Call(Call::LogoutOther)), WRITE),
            ["api", "vouchers", "redeem"] => (None, Some(Self::Call(Call::Redeem)), WRITE),
            ["captive-portal", "api"] => (Some(Self::Call(Call::Captive)), None, READ),
            ["api", ..] => return Self::NoCall,
            _ => return Self::Elsewhere,
        };
        match method {
            "GET" | "HEAD" => get,
            "POST" => post,
            _ => None,
        }
        .unwrap_or(Self::WrongMethod(allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path() {
        let order = || "0a1b".to_owned();
        for (method, path, expected) in [
            ("GET", "/", Route::Page(Page::Home)),
            ("HEAD", "/", Route::Page(Page::Home)),
            ("POST", "/", Route::WrongMethod("GET, HEAD")),
            ("GET", "/buy/hour", Route::Page(Page::Buy { package: "hour".to_owned() })),
            ("POST", "/buy/hour", Route::Form(Form::Buy { package: "hour".to_owned() })),
            ("PUT", "/buy/hour", Route::WrongMethod("GET, HEAD, POST")),
            ("GET", "/pay/0a1b", Route::Page(Page::Payment { order: order() })),
            ("GET", "/pay/0a1b/again", Route::WrongMethod("POST")),
            ("POST", "/pay/0a1b/again", Route::Form(Form::Again { order: order() })),
            ("GET", "/pay/0a1b/wrong-number", Route::WrongMethod("POST")),
            ("POST", "/pay/0a1b/wrong-number", Route::Form(Form::GiveUp { order: order() })),
            ("POST", "/api/payments/0a1b/give-up", Route::Call(Call::GiveUp { order: order() })),
            ("POST", "/login", Route::Form(Form::Login)),
            ("GET", "/receipt", Route::Page(Page::Receipt)),
            ("POST", "/receipt", Route::Form(Form::Receipt)),
            ("POST", "/api/payments/reclaim", Route::Call(Call::Reclaim)),
            ("GET", "/api/payments/reclaim", Route::WrongMethod("POST")),
            ("GET", "/logout", Route::WrongMethod("POST")),
            ("GET", "/account", Route::Page(Page::Account)),
            ("GET", "/voucher", Route::Page(Page::Voucher)),
            ("POST", "/voucher", Route::Form(Form::Voucher)),
            ("GET", "/terms", Route::Page(Page::Terms)),
            ("GET", "/logo/0a1b", Route::Logo { hash: order() }),
            ("POST", "/logo/0a1b", Route::WrongMethod("GET, HEAD")),
            ("GET", "/logo", Route::Elsewhere),
            ("GET", "/account/logout", Route::WrongMethod("POST")),
            ("POST", "/account/logout", Route::Form(Form::LogoutOther)),
            ("POST", "/api/vouchers/redeem", Route::Call(Call::Redeem)),
            ("GET", "/api/vouchers", Route::NoCall),
            ("GET", "/api/hotspot/devices", Route::Call(Call::Devices)),
            ("POST", "/api/hotspot/devices/logout", Route::Call(Call::LogoutOther)),
            ("GET", "/api/packages", Route::Call(Call::Packages)),
            ("DELETE", "/api/packages", Route::WrongMethod("GET, HEAD")),
            ("OPTIONS", "/api/payments", Route::WrongMethod("POST")),
            ("POST", "/api/payments", Route::Call(Call::Pay)),
            ("GET", "/api/payments/0a1b/status", Route::Call(Call::Status { order: order() })),
            ("GET", "/api/payments/0a1b/events", Route::Call(Call::Events { order: order() })),
            ("GET", "/api/hotspot/check-session", Route::WrongMethod("POST")),
            ("POST", "/api/hotspot/check-session", Route::Call(Call::CheckSession)),
            ("GET", "/captive-portal/api", Route::Call(Call::Captive)),
            ("GET", "/api", Route::NoCall),
            ("GET", "/api/", Route::NoCall),
            ("GET", "/api/payments/0a1b", Route::NoCall),
            ("GET", "/generate_204", Route::Elsewhere),
            ("POST", "/login/", Route::Elsewhere),
            ("GET", "//", Route::Elsewhere),
            ("GET", "/favicon.ico", Route::Elsewhere),
            ("get", "/", Route::WrongMethod("GET, HEAD")),
        ] {
            assert_eq!(Route::find(method, path), expected, "{method} {path}");
        }
    }
}
