//! Which requests change what runs on this machine: nodes, models, packages, snapshots, restarts.
//!
//! Of ComfyUI-Manager's routes the ones that read are listed, and everything else counts as a change:
//! older ones changed things by GET, and newer ones move. (The list is that of 3.x and of 4.x below `/v2`.)

use http::Method;

use super::{names::Query, routes::Route};

/// Below the prefix, exactly.
const READS: [&str; 22] = [
    "/comfyui_manager/comfyui_versions",
    "/customnode/alternatives",
    "/customnode/get_node_types_in_workflows",
    "/customnode/getlist",
    "/customnode/getmappings",
    "/customnode/installed",
    "/externalmodel/getlist",
    "/manager/channel_url_list",
    "/manager/db_mode",
    "/manager/is_legacy_manager_ui",
    "/manager/notice",
    "/manager/policy/component",
    "/manager/policy/update",
    "/manager/preview_method",
    "/manager/queue/history",
    "/manager/queue/history_list",
    "/manager/queue/status",
    "/manager/share_option",
    "/manager/startup_alerts",
    "/manager/version",
    "/snapshot/get_current",
    "/snapshot/getlist",
];
const READS_BELOW: [&str; 2] = ["/customnode/versions/", "/customnode/disabled_versions/"];
/// They read by POST.
const READS_BY_POST: [&str; 3] = [
    "/customnode/import_fail_info",
    "/customnode/import_fail_info_bulk",
    "/manager/component/loads",
];

pub fn changes_the_machine(method: &Method, path: &str, query: &Query<'_>) -> bool {
    match path {
        // The plugin's own; and ComfyUI's, which is gone since CVE-2024-12882.
        "/download-model" | "/internal/models/download" => return *method != Method::OPTIONS,
        _ => {}
    }
    if Route::of(path) != Route::Manager {
        return false;
    }
    let path = path.strip_prefix("/v2").unwrap_or(path);
    match *method {
        Method::OPTIONS => false,
        // A value is what a setting is set to.
        Method::GET | Method::HEAD if !query.has("value") => {
            !READS.contains(&path) && !READS_BELOW.iter().any(|prefix| path.starts_with(prefix))
        }
        Method::POST => !READS_BY_POST.contains(&path),
        _ => true,
    }
}
