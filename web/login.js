// With script.js, on the page that logs in.
(function (l) {
'use strict';
var d = document, all = l.all;
// A login while many others log in: the router says when to come again, and this does, so that nobody stands in line by hand.
// 'button' is what was pressed; 'rest' makes the form as it was.
l.login = function (f, button, rest) {
  var x = new XMLHttpRequest(), body = button.name + '=1&';
  // Another form was sent meanwhile: that is what the customer wants.
  if (l.sending !== f) { return; }
  all('form[data-next] input', function (e) { body += e.name + '=' + encodeURIComponent(e.value) + '&'; });
  x.open('POST', f.action);
  x.timeout = 30000;
  x.onloadend = function () {
    var left = +x.getResponseHeader('Retry-After');
    if (l.sending !== f) { return; }
    // Not all of them in the same moment. From ten on it is no crowd: another page of this device logs in, and the two would push each
    // other out for ever (takes_the_place in src/core/src/gateway/radius/access.rs).
    if (left && left < 10) { setTimeout(function () { l.login(f, button, rest); }, (left + Math.random()) * 1000); return; }
    if (x.status === 200) { location.replace(f.getAttribute('data-next')); return; }
    // As without script.
    if (!x.status) { f.removeAttribute('data-next'); rest(); button.click(); return; }
    d.open();
    d.write(x.responseText);
    d.close();
  };
  x.send(body);
};
})(lango);
