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
    let plain = browser.tab("en", false).unwrap_or_else(|e| panic!("{e:#}"));
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
        // Nobody can say by calculation whether that can be read.
        ("document.querySelector('.lead').style.background = 'linear-gradient(#fff, #000)'", "color-contrast"),
        ("document.querySelector('h2').outerHTML = '<h4>Use a voucher</h4>'", "heading-order"),
        ("document.cookie = 'seen=1'", "storage: \"seen=1,0,0\""),
        ("document.cookie = 'seen=; max-age=0'; sessionStorage.setItem('seen', '1')", "storage: \",0,1\""),
    ] {
        tab.portal("/login");
        if !spoilt.contains("cookie") {
            try_audit(&tab).unwrap_or_else(|e| panic!("the page as it is: {e:#}"));
        }
        let _ = tab.eval(spoilt);
        let said = format!("{:#}", try_audit(&tab).expect_err(spoilt));
        assert!(said.contains(found), "{spoilt}: {said}");
    }
    // What is seen without script is examined as well.
    for (spoilt, found) in [
        ("document.querySelector('label').remove()", "Form elements must have labels"),
        ("document.querySelector('.lead').style.color = '#aaa'", "color-contrast"),
    ] {
        plain.portal("/login");
        try_audit(&plain).unwrap_or_else(|e| panic!("the page as it is, without script: {e:#}"));
        let _ = plain.eval(spoilt);
        let said = format!("{:#}", try_audit(&plain).expect_err(spoilt));
        assert!(said.contains(found), "without script, {spoilt}: {said}");
    }
}
