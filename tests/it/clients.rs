//! The SDKs under the plugin, old and new, against the running product.
//!
//! The checks are in `tests/clients/*.py`; each row here is one script, one set of SDKs, one way in
//! and one state of the LLM. A failed row lists its failed checks.

use crate::support::{Airlock, Entry, Llm, Sdk, run_script};

fn check(script: &str, sdk: Sdk, entry: Entry, llm: &Llm) {
    let airlock = Airlock::before(llm);
    run_script(script, sdk, entry, &airlock, llm);
}

macro_rules! rows {
    ($($name:ident: $script:literal, $sdk:ident, $entry:ident, $llm:expr;)*) => {
        $(
            #[test]
            fn $name() {
                check($script, Sdk::$sdk, Entry::$entry, &$llm);
            }
        )*
    };
}

rows! {
    requests_on_urllib3_1_by_proxy: "requests_client", Old, Proxy, Llm::scripted();
    requests_on_urllib3_1_by_reverse: "requests_client", Old, Reverse, Llm::scripted();
    requests_on_urllib3_2_by_proxy: "requests_client", New, Proxy, Llm::scripted();
    requests_on_urllib3_2_by_reverse: "requests_client", New, Reverse, Llm::scripted();
    requests_with_the_llm_down: "requests_client", Old, Proxy, Llm::Down;
    requests_with_the_llm_hung: "requests_client", Old, Proxy, Llm::hung();
    requests_by_reverse_with_the_llm_hung: "requests_client", New, Reverse, Llm::hung();

    httpx_by_proxy: "httpx_client", Old, Proxy, Llm::scripted();
    httpx_by_reverse: "httpx_client", Old, Reverse, Llm::scripted();
    httpx2_by_proxy: "httpx_client", New, Proxy, Llm::scripted();
    httpx2_by_reverse: "httpx_client", New, Reverse, Llm::scripted();
    httpx_with_the_llm_down: "httpx_client", New, Proxy, Llm::Down;

    aiohttp_with_trust_env_by_proxy: "aiohttp_client", Old, Proxy, Llm::scripted();
    aiohttp_with_trust_env_by_reverse: "aiohttp_client", New, Reverse, Llm::scripted();

    openai_1_by_proxy: "openai_client", Old, Proxy, Llm::scripted();
    openai_1_by_reverse: "openai_client", Old, Reverse, Llm::scripted();
    openai_3_by_proxy: "openai_client", New, Proxy, Llm::scripted();
    openai_3_by_reverse: "openai_client", New, Reverse, Llm::scripted();
    openai_1_with_the_llm_down: "openai_client", Old, Proxy, Llm::Down;
    openai_3_with_the_llm_down: "openai_client", New, Reverse, Llm::Down;

    mcp_1_by_proxy: "mcp_client", Old, Proxy, Llm::scripted();
    mcp_1_by_reverse: "mcp_client", Old, Reverse, Llm::scripted();
    mcp_2_by_proxy: "mcp_client", New, Proxy, Llm::scripted();
    mcp_2_by_reverse: "mcp_client", New, Reverse, Llm::scripted();
    mcp_needs_no_llm: "mcp_client", New, Proxy, Llm::Down;

    agents_0_3_by_proxy: "agents_client", Old, Proxy, Llm::scripted();
    agents_0_3_by_reverse: "agents_client", Old, Reverse, Llm::scripted();
    agents_0_24_by_proxy: "agents_client", New, Proxy, Llm::scripted();
    agents_0_24_by_reverse: "agents_client", New, Reverse, Llm::scripted();
    agents_0_3_with_the_llm_down: "agents_client", Old, Proxy, Llm::Down;
    agents_0_24_with_the_llm_down: "agents_client", New, Proxy, Llm::Down;
}
