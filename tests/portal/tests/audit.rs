//! The examination itself: what is wrong with a page is found.

use lango_lab::Lab;
use lango_portal_tests::audit::{axe, try_audit};
use lango_portal_tests::browser::Browser;
use lango_portal_tests::walks::PACKAGES;

#[test]
fn what_is_wrong_with_a_page_is_found() {
    axe().unwrap_or_else(|e| panic!("{e:#}"));
    let lab = Lab::selling(PACKAGES);
    let phone = lab.joined_phone();
    let browser = Browser::start(&phone, &lab.world.folder).unwrap_or_else(|e| panic!("{e:#}"));
    let tab = browser.tab("en", true).unwrap_or_else(|e| panic!("{e:#}"));
    for (spoilt, found) in [
        ("document.querySelector('label').remove()", "Form elements must have labels"),
        ("document.querySelector('.lead').style.color = '#aaa'", "color-contrast"),
        ("document.documentElement.removeAttribute('lang')", "html-has-lang"),
        ("document.querySelector('h1').style.width = '330px'", "320 pixels wide, text at 100 %"),
        ("document.querySelector('h1').style.minWidth = '9em'", "text at 200 %"),
        (
            "new Promise((seen) => { document.addEventListener('securitypolicyviolation', () => seen(true));
             document.body.append(Object.assign(new Image(), {alt: '', src: '/picture.png'})); })",
            "the console",
        ),
    ] {
        tab.portal("/login");
        try_audit(&tab).unwrap_or_else(|e| panic!("the page as it is: {e:#}"));
        let _ = tab.eval(spoilt);
        let said = format!("{:#}", try_audit(&tab).expect_err(spoilt));
        assert!(said.contains(found), "{spoilt}: {said}");
    }
}
