//! Names and addresses, parsed once and canonical from then on.
//!
//! Everything that decides, dials, signs or logs takes these types, never a raw string.
//! Nothing here does IO or asks the clock.

pub mod address;
pub mod authority;
pub mod host;
pub mod pattern;
pub mod url;

pub use address::{AddressClass, classify};
pub use authority::{Authority, AuthorityError, Port};
pub use host::{Host, HostError};
pub use pattern::{DomainPattern, PatternError};
pub use url::{BaseUrl, Scheme, UrlError};

/// Which door a connection came in by, or who else asks. Stable names: log field, metric label, YAML value.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Forward proxy: absolute-form requests and CONNECT.
    Explicit,
    /// A base URL that stands for a vendor host.
    Reverse,
    /// Redirected TLS or HTTP: the client does not know that we are here.
    Transparent,
    /// Before ComfyUI: its page, its API, its WebSocket.
    FrontDoor,
    /// No door: requests of our own to the model sources.
    Models,
}

impl Entry {
    pub const ALL: [Entry; 5] = [
        Entry::Explicit,
        Entry::Reverse,
        Entry::Transparent,
        Entry::FrontDoor,
        Entry::Models,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Entry::Explicit => "explicit",
            Entry::Reverse => "reverse",
            Entry::Transparent => "transparent",
            Entry::FrontDoor => "front_door",
            Entry::Models => "models",
        }
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Entry;

    #[test]
    fn an_entry_has_one_name_everywhere() {
        let names = ["explicit", "reverse", "transparent", "front_door", "models"];
        assert_eq!(Entry::ALL.map(Entry::as_str), names);
        for entry in Entry::ALL {
            assert_eq!(entry.to_string(), entry.as_str());
            assert_eq!(serde_json::to_value(entry).unwrap(), entry.as_str());
        }
    }
}
