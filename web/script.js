// The portal works without this. It makes it quicker: shows that a form is on its way, and checks a number as it is typed. Pages where nothing
// of this can be do not carry it; login.js, follow.js and live.js come behind it where they have something to do.
// ES5 and no library: captive sheets and old handsets run it too. Texts come from the page, so there are none here.
var lango = (function () {
'use strict';
var d = document;
// 'sending' is the form that is on its way: nothing else leads away from the page.
var l = { sending: null, all: all, show: show, ask: ask };
function all(q, f) { Array.prototype.forEach.call(d.querySelectorAll(q), f); }
function show(e, on) { if (e) { if (on) { e.removeAttribute('hidden'); } else { e.setAttribute('hidden', ''); } } }
// Calls back with the parsed answer, or with nothing where there was none; and with the status, 0 where there was none.
function ask(method, url, then) {
  var x = new XMLHttpRequest();
  x.open(method, url);
  x.timeout = 8000;
  x.onloadend = function () {
    var v = null;
    try { v = x.status === 200 ? JSON.parse(x.responseText) : null; } catch (e) { v = null; }
    then(v, x.status);
  };
  x.send();
}
// The same rule as the router's: a Kenyan mobile number, however it is written.
function phone(text) { return /^(?:254|0)?[17]\d{8}$/.test(text.replace(/[\s\-()\u00a0]/g, '').replace(/^\+/, '')); }
function form(f) {
  var button = f.querySelector('button'), label = button.textContent, input = f.querySelector('[data-phone]');
  function rest() { l.sending = null; button.disabled = false; button.textContent = label; }
  function judge(final) {
    var text = input.value, bad = text !== '' && !phone(text) && (final || text.replace(/\D/g, '').length > 9);
    if (bad) { input.setAttribute('aria-invalid', 'true'); } else { input.removeAttribute('aria-invalid'); }
    show(d.getElementById('phone-error'), bad);
    return !bad;
  }
  if (input) {
    input.addEventListener('input', function () { judge(false); });
    input.addEventListener('blur', function () { judge(true); });
  }
  // Which of its buttons it is sent by; Enter clicks on the first.
  f.addEventListener('click', function (e) {
    if (e.target.type === 'submit' && l.sending !== f) { button = e.target; label = button.textContent; }
  });
  f.addEventListener('submit', function (e) {
    if (l.sending === f) { e.preventDefault(); return; }
    if (input && !judge(true)) { e.preventDefault(); input.focus(); return; }
    l.sending = f;
    if (l.login && f.getAttribute('data-next')) { e.preventDefault(); l.login(f, button, rest); }
    // After the event, or some browsers would not send the form.
    setTimeout(function () { button.disabled = true; button.textContent = button.getAttribute('data-busy') || label; }, 0);
  });
  // The page may come back from the browser's memory, its button still busy.
  window.addEventListener('pageshow', function (e) { if (e.persisted || !l.sending) { rest(); } });
}
// What is done with each element that a selector names, once the page is there.
l.each = function (q, f) { d.addEventListener('DOMContentLoaded', function () { all(q, f); }); };
l.each('form', form);
return l;
})();
