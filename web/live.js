// With script.js, on pages that show what is left.
(function (l) {
'use strict';
var d = document, all = l.all;
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
  // By the phone's clock and zone, in the page's language: where the router's clock is not set, or what it said is not true any more.
  function until(first) {
    if (left === null) { return; }
    var t = new Date(at + left * 1000), o = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
    if (left > 64800) { o.weekday = o.month = 'short'; o.day = 'numeric'; }
    all('[data-until]', function (e) {
      if (first && e.textContent) { return; }
      try { e.textContent = t.toLocaleString(d.documentElement.lang + '-KE', o); } catch (x) { e.textContent = t.toLocaleString(); }
      l.show(e.parentNode, true);
    });
  }
  var asking = false;
  function check() {
    if (asking) { return; }
    asking = true;
    l.ask('POST', '/api/hotspot/check-session', function (v) {
      // A second's rest, so that a session which is just ending is not asked for without pause.
      setTimeout(function () { asking = false; }, 1000);
      if (!v) { return; }
      if (!v.active) { location.replace(el.getAttribute('data-next')); return; }
      var before = left === null ? null : now();
      left = v.session.seconds_remaining;
      at = Date.now();
      if (v.session.bytes_remaining !== null) { all('[data-data]', function (e) { e.textContent = data(v.session.bytes_remaining); }); }
      tick();
      if (left === null || before === null || Math.abs(left - before) > 5) { until(); }
    });
  }
  until(true);
  setInterval(tick, 1000);
  setInterval(check, 10000);
  d.addEventListener('visibilitychange', function () { if (!d.hidden) { check(); } });
}
l.each('[data-units]', live);
})(lango);
