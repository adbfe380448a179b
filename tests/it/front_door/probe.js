// Every way out that a page has, each to a name of its own. What cannot be tried throws, which is fine.
const away = (name) => `http://${name}.outside.test/`;
const put = (html) => document.body.insertAdjacentHTML("beforeend", html);
const link = (rel, name, more = {}) => {
  const made = document.createElement("link");
  document.head.append(Object.assign(made, { rel, href: away(name) }, more));
};
const submit = (name) => {
  put(`<form id="${name}" method="post" action="${away(name)}" target="_blank"><input name="a" value="b"></form>`);
  document.getElementById(name).submit();
};
const follow = (name) => {
  put(`<a id="${name}" href="#x" ping="${away(name)}">x</a>`);
  document.getElementById(name).click();
};
const call = async () => {
  const peer = new RTCPeerConnection({ iceServers: [{ urls: "stun:stun.outside.test:3478" }] });
  peer.createDataChannel("x");
  await peer.setLocalDescription(await peer.createOffer());
};
const inWorker = () => {
  const text = `fetch("${away("worker")}", { mode: "no-cors" }).catch(() => {})`;
  new Worker(URL.createObjectURL(new Blob([text])));
};
const ways = [
  () => fetch(away("fetch"), { mode: "no-cors" }),
  () => fetch(away("keepalive"), { mode: "no-cors", method: "POST", body: "x", keepalive: true }),
  () => { const x = new XMLHttpRequest(); x.open("POST", away("xhr")); x.send("x"); },
  () => navigator.sendBeacon(away("beacon"), "x"),
  () => new EventSource(away("eventsource")),
  () => new WebSocket("ws://websocket.outside.test/"),
  () => { new Image().src = away("image"); },
  () => link("stylesheet", "style"),
  () => link("icon", "icon"),
  () => link("preload", "preload", { as: "image" }),
  () => link("modulepreload", "modulepreload"),
  () => link("prefetch", "prefetch"),
  () => link("preconnect", "preconnect"),
  () => link("dns-prefetch", "dns-prefetch"),
  () => new FontFace("x", `url(${away("font")})`).load(),
  () => { const a = new Audio(away("audio")); a.preload = "auto"; a.load(); },
  () => { const s = document.createElement("script"); s.src = away("script"); document.head.append(s); },
  () => import(away("import")),
  inWorker,
  () => put(`<iframe src="${away("iframe")}"></iframe>`),
  () => put(`<object data="${away("object")}"></object>`),
  () => submit("form"),
  () => follow("ping"),
  call,
  () => window.open(away("popup")),
];
for (const way of ways) {
  try { Promise.resolve(way()).catch(() => {}); } catch { /* refused at once */ }
}
setTimeout(async () => {
  await fetch("/done");
  location.href = away("navigation");
}, 3000);
