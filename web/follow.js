// With script.js, on the page that waits for a payment.
(function (l) {
'use strict';
var d = document, all = l.all;
// A payment: events where they work, polling where they do not (every second for a minute, then every five).
function follow(el) {
  var base = el.getAttribute('data-follow'), tries = 0, refused = 0, done = false, heard = false, polling = false, source = null;
  function seen(v, status) {
    // Refused again and again: the phone came back with another address, and this payment is not its own any more. The page says what to do.
    // Not by the first: while a phone moves from one antenna to the next the router may not know it for a moment.
    if (v) { refused = 0; }
    var lost = (status === 403 || status === 404) && (refused += 1) > 2;
    if (done || l.sending || (!lost && (!v || v.status === 'pending'))) { return; }
    done = true;
    if (source) { source.close(); }
    // A whole navigation, never a change in place: it is what makes a phone look again whether it is online.
    location.replace(el.getAttribute('data-next'));
  }
  function poll() {
    if (done) { return; }
    polling = true;
    tries += 1;
    l.ask('GET', base + '/status', function (v, status) {
      seen(v, status);
      if (!done) { setTimeout(poll, tries < 60 ? 1000 : 5000); }
    });
  }
  if (window.EventSource) {
    source = new EventSource(base + '/events');
    source.onmessage = function (e) { heard = true; try { seen(JSON.parse(e.data)); } catch (x) { return; } };
    source.onerror = function () { source.close(); if (!polling) { poll(); } };
    // The first event comes with the connection: where none does, something between holds it back.
    setTimeout(function () { if (!heard) { source.onerror(); } }, 4000);
    // Beside it, slowly: after roaming a connection may be dead and not know it.
    setInterval(function () { if (!done && !polling) { l.ask('GET', base + '/status', seen); } }, 10000);
  } else { poll(); }
  // Timers sleep while the PIN prompt covers the page.
  d.addEventListener('visibilitychange', function () { if (!d.hidden && !done) { l.ask('GET', base + '/status', seen); } });
  setTimeout(function () { all('[data-late]', function (e) { l.show(e, true); }); }, 30000);
}
l.each('[data-follow]', follow);
})(lango);
