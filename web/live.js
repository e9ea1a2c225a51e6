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
// What is left: counted down each second, set right by the router every ten. Where what the page says is no longer what is in use (another
// package has taken over, or the phone's clock was put right), the page comes anew: the router's own words, by the router's clock. Never for
// what the new page would say as well: it would come again and again.
function live(el) {
  var u = JSON.parse(el.getAttribute('data-units')), left = el.getAttribute('data-seconds'), at = Date.now(), sure = false, asking = false;
  // Without a limit it is null; where the page does not say, undefined until the router does.
  left = left ? +left : left === '' ? null : undefined;
  function now() { return Math.max(0, left - Math.floor((Date.now() - at) / 1000)); }
  function tick() {
    if (typeof left !== 'number') { return; }
    all('[data-time]', function (e) { e.textContent = duration(u, now()); });
    if (now() === 0) { check(); }
  }
  // A package, a limit or its end is another one. What was bought a second time is more than there was, by no clock. The phone's is looked at
  // between two answers alone: how long the page was on its way nobody knows, and of an answer it is eight seconds at most.
  function other(s) {
    var n = s.seconds_remaining, b = s.bytes_remaining;
    if (u.package && u.package !== s.package || u.bytes !== undefined && ((u.bytes === null) !== (b === null) || u.bytes < b)) { return true; }
    if (left === undefined) { return false; }
    return left === null || n === null ? left !== n : n > left + 5 || sure && Math.abs(n - now()) > 10;
  }
  function check() {
    if (asking) { return; }
    asking = true;
    l.ask('POST', '/api/hotspot/check-session', function (v) {
      // A second's rest, so that a session which is just ending is not asked for without pause.
      setTimeout(function () { asking = false; }, 1000);
      if (!v || l.sending) { return; }
      var s = v.session;
      if (!v.active) { location.replace(el.getAttribute('data-next')); return; }
      if (other(s)) { location.reload(); return; }
      u.bytes = s.bytes_remaining;
      left = s.seconds_remaining;
      at = Date.now();
      sure = true;
      if (s.bytes_remaining !== null) { all('[data-data]', function (e) { e.textContent = data(s.bytes_remaining); }); }
      tick();
    });
  }
  // The router's clock is not set: by the phone's, but as the router would say it, in East Africa's time.
  if (u.days && typeof left === 'number') {
    var t = new Date(at + left * 1000 + 108e5), far = left > 64800;
    all('[data-until]', function (e) {
      e.textContent = (far ? u.days.split(' ')[t.getUTCDay()] + ' ' + t.getUTCDate() + ' ' + u.months.split(' ')[t.getUTCMonth()] + ' ' : '') + t.toISOString().substr(11, 5);
      l.show(e.parentNode, true);
    });
  }
  setInterval(tick, 1000);
  setInterval(check, 10000);
  d.addEventListener('visibilitychange', function () { if (!d.hidden) { check(); } });
}
l.each('[data-units]', live);
})(lango);
