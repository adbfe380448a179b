//! What is saved or downloaded through here is looked for at once, and not a minute later.

use super::{JSON, PATIENCE, call, config, files};
use crate::{
    front_door::comfyui::{Answer, ComfyUi},
    models::hub::{Hubs, ask, file_target, search},
    support::{Airlock, Wire, eventually_within},
};
use serde_json::json;

/// How often ComfyUI was asked for what it has.
fn looks(comfyui: &ComfyUi) -> usize {
    let heads = comfyui.heads();
    let all = heads.iter().filter(|h| h.starts_with("GET /object_info "));
    all.count()
}

/// Until somebody needed ComfyUI, and all that follows from it was asked.
fn known(airlock: &Airlock, comfyui: &ComfyUi) {
    call(airlock, "s1", "search_node", &json!({"query": "upscale"}));
    eventually_within(PATIENCE, "all is read", || {
        let (_, status) = airlock.admin("/status");
        status.contains("\"generation\":2")
    });
    assert_eq!(looks(comfyui), 1);
}

#[test]
fn a_workflow_that_is_saved_by_the_front_door_is_looked_for_at_once() {
    let mut all = files();
    for path in [
        "/api/userdata/comfy.settings.json",
        "/api/userdata/workflows%2Fnew.json",
    ] {
        all.push((path, Answer::plain(JSON, "\"saved\"")));
    }
    let comfyui = ComfyUi::serving(all);
    let (door, address) = ("front_door:\n  listen: 127.0.0.1:0\n", comfyui.address());
    let airlock = Airlock::start(&format!(
        "{}{door}  comfyui: http://{address}\n",
        config(address)
    ));
    known(&airlock, &comfyui);
    let door = airlock.ready.front_door.expect("it listens");
    let save = |file: &str| {
        let reply = Wire::to(door).ask(format!(
            "POST /api/userdata/{file}?overwrite=true HTTP/1.1\r\nHost: {door}\r\nOrigin: http://{door}\r\n\
             Content-Type: application/json\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(reply.status, 200, "{file}: {}", reply.text());
    };
    save("comfy.settings.json");
    call(&airlock, "s1", "search_node", &json!({"query": "upscale"}));
    assert_eq!(looks(&comfyui), 1, "settings are no news");
    save("workflows%2Fnew.json");
    call(&airlock, "s1", "search_node", &json!({"query": "upscale"}));
    assert_eq!(looks(&comfyui), 2, "the next call has waited for the look");
    airlock.assert_healthy();
}

#[test]
fn a_model_that_came_by_is_looked_for_until_it_is_there() {
    const GOOD: &str = "hf--org/good";
    let comfyui = ComfyUi::serving(files());
    let hubs = Hubs::start();
    let (hub, store) = (hubs.hub.port(), hubs.store.port());
    let airlock = Airlock::start(&format!(
        "{}models:\n  sources: [huggingface]\n  huggingface:\n    endpoint: http://127.0.0.1:{hub}\n\
         upstreams:\n  - name: store\n    url: http://127.0.0.1:{store}\n\
         rules:\n  - name: store\n    ips: [127.0.0.1]\n    ports: [{store}]\n    methods: [GET]\n    \
         entries: [models]\n    action: forward\n    secrets: \"off\"\n",
        config(comfyui.address())
    ));
    known(&airlock, &comfyui);
    search(&airlock, "pose");
    let part = ask(
        &airlock,
        "GET",
        &file_target(GOOD),
        "Range: bytes=0-99\r\n",
        "",
    );
    assert_eq!(part.status, 206, "{}", part.text());
    assert_eq!(looks(&comfyui), 1);
    let whole = ask(&airlock, "GET", &file_target(GOOD), "", "");
    assert_eq!(whole.status, 200);
    // Twice, for nothing has changed: it may still be on its way into its folder.
    eventually_within(PATIENCE, "it is looked for again and again", || {
        looks(&comfyui) >= 3
    });
    airlock.assert_healthy();
}
