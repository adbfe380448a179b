//! The 55 groups of what an egress firewall must withstand, and what proves those that a connection
//! to a running instance cannot.

pub struct Group {
    pub number: u8,
    pub section: &'static str,
    /// What is tried.
    pub title: &'static str,
    /// Tests, beside the cases: `it::...` in `tests/it`, else a module of the library.
    pub proved_by: &'static [&'static str],
}

const HOSTS: &str = "Host strings";
const ADDRESSES: &str = "Addresses";
const CONNECT: &str = "CONNECT";
const TLS: &str = "TLS";
const HTTP: &str = "HTTP";
const AROUND: &str = "Around the proxy";

const fn group(
    number: u8,
    section: &'static str,
    title: &'static str,
    proved_by: &'static [&'static str],
) -> Group {
    Group {
        number,
        section,
        title,
        proved_by,
    }
}

pub const GROUPS: [Group; 55] = [
    group(1, HOSTS, "Case and one trailing dot are allowed and canonical; two dots are not", &["net::host::tests::accepted_spellings_have_one_canonical_form", "net::host::tests::whatever_comes_the_canonical_form_is_stable_and_plain"]),
    group(2, HOSTS, "Suffix mistakes, and the apex of a wildcard", &["net::pattern::patterns_match_on_label_boundaries"]),
    group(3, HOSTS, "Patterns that a configuration may not hold", &["net::pattern::refused_patterns"]),
    group(4, HOSTS, "Control characters, blanks and 8-bit bytes", &["net::host::tests::refused_spellings"]),
    group(5, HOSTS, "Percent-encoding in a host", &[]),
    group(6, HOSTS, "International names: lookalike dots and letters, invisible ones, broken A-labels", &[]),
    group(7, HOSTS, "User information", &["net::authority::refused"]),
    group(8, HOSTS, "Backslashes, missing and extra slashes", &[]),
    group(9, HOSTS, "Brackets and zone ids", &[]),
    group(10, HOSTS, "Ports that are none, or two", &[]),
    group(11, HOSTS, "Lengths, underscores, hyphens, names below localhost", &[]),
    group(12, ADDRESSES, "IPv4 in decimal, octal, hexadecimal, short and mixed forms", &["it::vectors::addresses::other_spellings_of_an_address_are_no_host"]),
    group(13, ADDRESSES, "Special IPv4 ranges and their neighbours", &["net::address::ranges_and_their_neighbours"]),
    group(14, ADDRESSES, "IPv4 inside IPv6", &["it::vectors::addresses::an_address_in_any_wrapping_is_dialled_only_if_it_is_public_and_the_wrapping_transparent"]),
    group(15, ADDRESSES, "Special IPv6 ranges", &["net::address::ranges_and_their_neighbours"]),
    group(16, ADDRESSES, "Cloud metadata services", &["it::vectors::ssrf::nothing_of_the_list_is_dialled_whatever_the_rules_say"]),
    group(17, ADDRESSES, "Airlock's own listeners, and loops through itself", &["it::pipeline::tunnel::a_tunnel_back_into_airlock_is_refused", "it::pipeline::own_address::a_public_address_of_this_machine_leads_back_to_us_and_is_refused", "policy::address::a_configured_upstream_cannot_open_our_own_listener"]),
    group(18, ADDRESSES, "One closed address among several", &["it::corpus::answers::a_name_with_one_closed_address_among_several_is_closed"]),
    group(19, ADDRESSES, "A name whose answer changes between look-ups", &["it::corpus::answers::a_name_that_turns_to_a_closed_address_is_judged_anew"]),
    group(20, ADDRESSES, "An alias of a closed name", &["it::corpus::answers::a_name_with_one_closed_address_among_several_is_closed"]),
    group(21, CONNECT, "Other ports", &[]),
    group(22, CONNECT, "The target against Host; two Hosts", &[]),
    group(23, CONNECT, "A body on CONNECT; bytes before the verdict", &[]),
    group(24, CONNECT, "Other forms of the request line", &[]),
    group(25, CONNECT, "Requests behind a refused CONNECT; a CONNECT inside a tunnel", &["it::pipeline::connect::what_stands_behind_a_refused_connect_is_not_read_as_a_request"]),
    group(26, CONNECT, "First bytes that are not TLS", &["it::pipeline::connect::what_is_no_client_hello_for_this_host_is_closed_and_recorded"]),
    group(27, CONNECT, "Headers that try to steer", &["it::pipeline::headers::what_is_meant_for_us_or_would_steer_the_next_hop_is_not_sent_on"]),
    group(28, CONNECT, "Extended CONNECT, UDP and IP through HTTP", &[]),
    group(29, TLS, "A server name that is another, absent, twice, an address or of a wrong type", &["tls::client_hello::tests::a_hello_that_two_parsers_could_read_differently_is_refused"]),
    group(30, TLS, "Encrypted ClientHello", &["it::pipeline::tls::an_encrypted_hello_is_refused_where_its_server_might_read_it", "it::pipeline::tls::grease_passes_a_tunnel_whose_server_takes_no_encrypted_hellos", "it::pipeline::tls::an_intercepted_host_takes_grease_and_serves_the_outer_name"]),
    group(31, TLS, "A ClientHello in fragments, too large, never finished", &["tls::client_hello::tests::however_it_is_cut_the_answer_is_the_same"]),
    group(32, TLS, "Resumption across names; a second name after a retry", &["it::pipeline::tls::a_session_is_resumed_under_its_own_name_and_under_no_other", "it::pipeline::tls::a_second_name_after_a_hello_retry_request_is_not_served"]),
    group(33, TLS, "ALPN surprises; HTTP/2 after http/1.1 was agreed", &["it::pipeline::tls::whoever_is_intercepted_is_offered_http_1_1_alone", "it::pipeline::tls::tls_1_2_and_1_3_are_spoken_and_nothing_older"]),
    group(34, TLS, "An upstream's certificate: wrong name, expired, self-signed", &["it::pipeline::intercept::an_upstream_that_cannot_prove_its_name_gets_no_request", "tls::connector::tests::an_upstream_is_verified_by_name_date_and_issuer", "tls::roots::tests::a_root_of_ours_is_never_trusted_upstream_wherever_it_was_installed"]),
    group(35, TLS, "The original destination of a redirected connection is never trusted", &["it::pipeline::transparent::what_cannot_be_named_or_is_not_allowed_is_closed_and_recorded"]),
    group(36, HTTP, "URI host against Host; inner Host against the tunnel", &["it::pipeline::intercept::another_host_inside_is_misdirected"]),
    group(37, HTTP, "Framing and line ends that two parsers read in two ways", &["it::pipeline::heads::what_could_be_read_two_ways_is_refused_recorded_once_and_the_connection_is_closed", "it::pipeline::framing::a_body_with_its_head_is_refused_before_anything_is_dialled", "it::pipeline::framing::a_body_that_comes_later_is_broken_off_and_never_ended_cleanly_upstream", "it::pipeline::framing::a_body_for_a_stand_in_is_refused_alike_through_every_entry"]),
    group(38, HTTP, "Trailers", &["it::pipeline::forward::trailers_do_not_pass"]),
    group(39, HTTP, "Connection naming a header that frames, routes or is ours", &["it::pipeline::headers::connection_cannot_take_away_what_frames_and_routes", "it::pipeline::headers::what_connection_names_ends_here_and_what_frames_and_routes_does_not"]),
    group(40, HTTP, "h2c, bytes before the switch, a switch unasked", &["it::pipeline::pipelining::what_stands_behind_an_upgrade_waits_for_the_switch", "it::pipeline::pipelining::what_stands_behind_an_upgrade_that_is_refused_goes_nowhere"]),
    group(41, HTTP, "WebSocket only where a rule says so", &["it::pipeline::reverse::a_web_socket_without_a_rule_that_says_so_is_refused_before_any_socket"]),
    group(42, HTTP, "HTTP/2 to HTTP/1: it is offered nowhere", &[]),
    group(43, HTTP, "Paths: climbs, encodings, slashes, case", &["it::pipeline::reverse::what_is_judged_is_what_is_sent"]),
    group(44, HTTP, "Redirects from an allowed host", &["it::pipeline::forward::a_redirect_is_passed_on_and_not_followed"]),
    group(45, HTTP, "Allowed, then denied on one connection", &["it::pipeline::intercept::requests_inside_are_judged_and_recorded_one_by_one", "it::reload::sighup_cuts_the_tunnel_that_is_refused_now_and_leaves_the_other", "it::reload::forwarded_streams_and_web_sockets_are_cut_and_kept_connections_judged_anew"]),
    group(46, HTTP, "Encoded bodies where a body is inspected", &["it::terms::an_encoded_body_passes_only_where_its_rule_says_so", "it::terms::no_byte_of_a_secret_leaves_and_no_record_holds_it"]),
    group(47, HTTP, "A second credential beside the one that is put in", &["gateway::tests::streams::what_goes_up_is_the_body_with_the_model_changed_and_no_header_of_the_client"]),
    group(48, HTTP, "Our marker headers from a client or an upstream", &["it::pipeline::headers::an_answer_opens_no_other_door_and_forges_no_mark"]),
    group(49, AROUND, "A client that goes around the proxy", &["it::isolate::not_one_packet_leaves_an_isolated_program_that_tries_everything", "it::isolate::the_same_program_without_isolation_is_seen_to_leak", "it::leak::during_the_whole_demo_not_one_packet_leaves_the_machine"]),
    group(50, AROUND, "Docker's embedded DNS on an internal network", &["it::compose_net::every_packet_of_the_plugins_container_goes_to_airlock", "it::compose_net::one_changed_line_of_the_compose_file_is_seen_to_leak", "it::deploy::the_plugins_container_has_one_network_and_it_leads_nowhere", "it::deploy::only_airlock_the_relays_and_the_model_download_have_a_route_out"]),
    group(51, AROUND, "The control plane: through the proxy, by rebinding, from a page", &["it::pipeline::lifecycle::the_control_plane_is_not_reached_through_the_proxy", "it::pipeline::reverse::a_page_that_rebinds_its_name_is_refused_and_local_names_are_not"]),
    group(52, AROUND, "Volume: read-only hosts, bodies over their bound", &["it::terms::a_read_only_host_is_only_read", "it::terms::a_spent_budget_refuses_the_next_request_and_breaks_off_a_body", "it::terms::a_tunnel_is_cut_when_its_budget_is_spent", "it::pipeline::heads::an_oversize_body_is_refused_and_the_client_reads_the_answer_every_time"]),
    group(53, AROUND, "The page in the browser: what it would fetch from the vendor", &["it::front_door::browser::a_page_behind_the_front_door_reaches_nothing_else", "it::front_door::the_browser_is_told_the_tightest_policy_with_the_hash_of_the_import_map", "it::front_door::scripts_of_the_plugin_call_us_in_place_of_the_vendor", "it::front_door::a_rebound_name_and_a_foreign_page_are_refused_before_comfyui_hears_of_them"]),
    group(54, AROUND, "Configurations that would open a hole", &["config::tests::each_mistake_has_its_message", "it::reload::a_broken_file_keeps_the_old_policy_and_says_so"]),
    group(55, AROUND, "Fail closed: resolver down, audit disk full, certificate cache full, no descriptors, overload", &["it::fault::audit::a_full_disk_refuses_all_and_every_record_is_there_when_there_is_room_again", "it::fault::resolver::a_broken_resolver_refuses_with_a_reason_dials_nobody_and_recovers", "it::fault::memory::a_full_certificate_cache_mints_again_and_shows_the_right_name", "it::fault::descriptors::without_a_descriptor_nothing_is_accepted_or_dialled_and_all_is_well_afterwards", "it::fault::slow::a_full_house_refuses_on_every_entry_and_dials_nobody"]),
];
