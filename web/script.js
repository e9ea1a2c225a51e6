// The portal works without this. It makes it quicker: follows a payment, checks a number as it is typed, counts down.
// ES5 and no library: captive sheets and old handsets run it too. Texts come from the page, so there are none here.
(function () {
'use strict';
var d = document;
// The form that is on its way: nothing else leads away from the page.
var sending = null;
function all(q, f) { Array.prototype.forEach.call(d.querySelectorAll(q), f); }
function show(e, on) { if (e) { if (on) { e.removeAttribute('hidden'); } else { e.setAttribute('hidden', ''); } } }
// Calls back with the parsed answer, or with nothing where there was none.
function ask(method, url, then) {
  var x = new XMLHttpRequest();
  x.open(method, url);
  x.timeout = 8000;
  x.onloadend = function () {
    var v = null;
    try { v = x.status === 200 ? JSON.parse(x.responseText) : null; } catch (e) { v = null; }
    then(v);
  };
  x.send();
}
// A payment: events where they work, polling where they do not (every second for a minute, then every five).
function follow(el) {
  var base = el.getAttribute('data-follow'), tries = 0, done = false, polling = false, source = null;
  function seen(v) {
    if (done || sending || !v || v.status === 'pending') { return; }
    done = true;
    if (source) { source.close(); }
    // A whole navigation, never a change in place: it is what makes a phone look again whether it is online.
    location.replace(el.getAttribute('data-next'));
  }
  function poll() {
    if (done) { return; }
    polling = true;
    tries += 1;
    ask('GET', base + '/status', function (v) {
      seen(v);
      if (!done) { setTimeout(poll, tries < 60 ? 1000 : 5000); }
    });
  }
  if (window.EventSource) {
    source = new EventSource(base + '/events');
    source.onmessage = function (e) { try { seen(JSON.parse(e.data)); } catch (x) { return; } };
    source.onerror = function () { source.close(); if (!polling) { poll(); } };
  } else { poll(); }
  // Timers sleep while the PIN prompt covers the page.
  d.addEventListener('visibilitychange', function () { if (!d.hidden && !done) { ask('GET', base + '/status', seen); } });
  setTimeout(function () { all('[data-late]', function (e) { show(e, true); }); }, 30000);
}
function fill(forms, n) { return forms[n === 1 ? 0 : 1].replace('{n}', n); }
function duration(u, s) {
  var p = [[86400, 'day'], [3600, 'hour'], [60, 'minute'], [1, 'second']], i, n, m, text;
  for (i = 0; i < 4; i += 1) {
    if (s >= p[i][0] || i === 3) {
      n = Math.floor(s / p[i][0]);
      text = fill(u[p[i][1]], n);
      m = i < 3 ? Math.floor(s % p[i][0] / p[i + 1][0]) : 0;
      return m ? text + ' ' + fill(u[p[i + 1][1]], m) : text;
    }
  }
}
function data(b) {
  if (b >= 1e9) { return (Math.floor(b / 1e7) / 100) + ' GB'; }
  return (b >= 1e7 ? Math.floor(b / 1e6) : Math.floor(b / 1e5) / 10) + ' MB';
}
// What is left: counted down each second, set right by the router every ten.
function live(el) {
  var u = JSON.parse(el.getAttribute('data-units')), left = el.getAttribute('data-seconds'), at = Date.now();
  left = left === '' ? null : +left;
  function now() { return Math.max(0, left - Math.floor((Date.now() - at) / 1000)); }
  function tick() {
    if (left === null) { return; }
    all('[data-time]', function (e) { e.textContent = duration(u, now()); });
    if (now() === 0) { check(); }
  }
  function until() {
    if (left === null) { return; }
    var t = new Date(at + left * 1000), far = left > 64800;
    all('[data-until]', function (e) {
      try {
        e.textContent = far ? t.toLocaleString([], { weekday: 'short', day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' })
          : t.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
      } catch (x) { e.textContent = t.toLocaleString(); }
      show(e.parentNode, true);
    });
  }
  var asking = false;
  function check() {
    if (asking) { return; }
    asking = true;
    ask('POST', '/api/hotspot/check-session', function (v) {
      // A second's rest, so that a session which is just ending is not asked for without pause.
      setTimeout(function () { asking = false; }, 1000);
      if (!v) { return; }
      if (!v.active) { location.replace(el.getAttribute('data-next')); return; }
      left = v.session.seconds_remaining;
      at = Date.now();
      if (v.session.bytes_remaining !== null) { all('[data-data]', function (e) { e.textContent = data(v.session.bytes_remaining); }); }
      tick();
      until();
    });
  }
  until();
  setInterval(tick, 1000);
  setInterval(check, 10000);
  d.addEventListener('visibilitychange', function () { if (!d.hidden) { check(); } });
}
// The same rule as the router's: a Kenyan mobile number, however it is written.
function phone(text) { return /^(?:254|0)?[17]\d{8}$/.test(text.replace(/[\s\-()\u00a0]/g, '').replace(/^\+/, '')); }
// A login while many others log in: the router says when to come again, and this does, so that nobody stands in line by hand.
// 'button' is what was pressed; 'rest' makes the form as it was.
function login(f, button, rest) {
  var x = new XMLHttpRequest(), body = button.name + '=1&';
  // Another form was sent meanwhile: that is what the customer wants.
  if (sending !== f) { return; }
  all('form[data-next] input', function (e) { body += e.name + '=' + encodeURIComponent(e.value) + '&'; });
  x.open('POST', f.action);
  x.timeout = 30000;
  x.onloadend = function () {
    var left = +x.getResponseHeader('Retry-After');
    if (sending !== f) { return; }
    // Not all of them in the same moment. From ten on it is no crowd: another page of this device logs in, and the two would push each
    // other out for ever (takes_the_place in src/core/src/gateway/radius/access.rs).
    if (left && left < 10) { setTimeout(function () { login(f, button, rest); }, (left + Math.random()) * 1000); return; }
    if (x.status === 200) { location.replace(f.getAttribute('data-next')); return; }
    // As without script.
    if (!x.status) { f.removeAttribute('data-next'); rest(); button.click(); return; }
    d.open();
    d.write(x.responseText);
    d.close();
  };
  x.send(body);
}
function form(f) {
  var button = f.querySelector('button'), label = button.textContent, input = f.querySelector('[data-phone]');
  function rest() { sending = null; button.disabled = false; button.textContent = label; }
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
    if (e.target.type === 'submit' && sending !== f) { button = e.target; label = button.textContent; }
  });
  f.addEventListener('submit', function (e) {
    if (sending === f) { e.preventDefault(); return; }
    if (input && !judge(true)) { e.preventDefault(); input.focus(); return; }
    sending = f;
    if (f.getAttribute('data-next')) { e.preventDefault(); login(f, button, rest); }
    // After the event, or some browsers would not send the form.
    setTimeout(function () { button.disabled = true; button.textContent = button.getAttribute('data-busy') || label; }, 0);
  });
  // The page may come back from the browser's memory, its button still busy.
  window.addEventListener('pageshow', function (e) { if (e.persisted || !sending) { rest(); } });
}
d.addEventListener('DOMContentLoaded', function () {
  all('[data-follow]', follow);
  all('[data-units]', live);
  all('form', form);
});
})();
